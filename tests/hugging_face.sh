#!/usr/bin/env bash
# Reads a published dataset of images with the real `datasets` library, in an environment of its own.
#
#     tests/hugging_face.sh                              the golden dataset, datasets 5.2.0
#     tests/hugging_face.sh FOLDER 'datasets==5.2.0'     a version's folder in a store, another release
#
# HF_VENV names the environment; without it, one is made in a temporary folder and removed again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(cd "${1:-$here/golden/images-1/store/datasets/images/1}" && pwd)
release=${2:-datasets==5.2.0}
venv=${HF_VENV:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -z "$venv" ]; then
    venv=$scratch/venv
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "$release" pillow
fi
HF_HOME=$scratch/cache HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 "$venv/bin/python" - "$folder" <<'PYTHON'
import sys

import datasets
from PIL import Image

found = datasets.load_dataset("parquet", data_files=f"{sys.argv[1]}/*.parquet", split="train")
assert isinstance(found.features["image"], datasets.Image), found.features
assert isinstance(found.features["label"], datasets.ClassLabel), found.features
names = found.features["label"].names
for row in found:
    assert isinstance(row["image"], Image.Image), row
    assert row["image"].size == found[0]["image"].size
    assert 0 <= row["label"] < len(names), row
print(f"datasets {datasets.__version__}: {len(found)} images of {found[0]['image'].size}, mode {found[0]['image'].mode}, classes {names}")
PYTHON
