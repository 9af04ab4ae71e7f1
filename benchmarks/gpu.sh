#!/usr/bin/env bash
# What only a GPU can show, in at most 8 minutes and without Ray: the CUDA tests (captured graphs among them), training
# speed of tables and images beside the plain loop and the arithmetic limit, and fashion_style_gan for two minutes.
#   benchmarks/gpu.sh [--device cuda|cpu] [--quick] [--data FOLDER] [--output FOLDER]
# FOLDER of --data holds Fashion-MNIST's IDX files; without it, digits brought to the same size. PYTHON names another
# interpreter. It needs torch, numpy, pyarrow, scikit-learn, pydantic, PyYAML, safetensors, pillow, rich, jinja2, boto3 and,
# for the tests, pytest. Each part goes on when another failed; the script then ends in 1.
set -uo pipefail
cd "$(dirname "$0")/.."

device=cuda quick=() data=() output=benchmarks/results/gpu
while [ $# -gt 0 ]; do
    case "$1" in
        --device) device=$2; shift 2 ;;
        --quick) quick=(--quick); shift ;;
        --data) data=(--data "$2"); shift 2 ;;
        --output) output=$2; shift 2 ;;
        *) echo "unknown option: $1" >&2; exit 2 ;;
    esac
done
case "$device" in cuda | cpu) ;; *) echo "--device is cuda or cpu, got $device" >&2; exit 2 ;; esac

python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3
export PYTHONPATH="$PWD/platform:$PWD/tests${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$output"
failed=()

# Limits add up to 7.5 minutes: a part that hangs takes its own time, not that of the others.
part() {
    local name=$1 seconds=$2 begin=$SECONDS
    shift 2
    printf '\n==> %s (at most %s s)\n' "$name" "$seconds"
    timeout --kill-after=5 "$seconds" "$@" 2>&1 | tee "$output/$name.log"
    local code=${PIPESTATUS[0]}
    printf '==> %s: exit code %s after %s s\n' "$name" "$code" "$((SECONDS - begin))"
    [ "$code" -eq 0 ] || failed+=("$name")
}

about() {
    "$python" -c 'import platform, torch; print("python", platform.python_version(), "torch", torch.__version__, "CUDA", torch.version.cuda, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'
    command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    return 0
}
about | tee "$output/about.txt"

# Without the repository's conftest, which starts servers that this does not need.
pytest=("$python" -m pytest -c /dev/null --rootdir=. --noconftest --import-mode=importlib -p no:cacheprovider -q)
steps=400 rows=128 models=(mlp_gan dcgan)
if [ ${#quick[@]} -gt 0 ]; then
    steps=22 rows=16 models=(mlp_gan)
fi
part tests 120 "${pytest[@]}" -k "graph or gpu or captured" tests/training/test_compute.py
part tables 75 "$python" benchmarks/gpu.py tables --device "$device" --output "$output" "${quick[@]}"
rm -f "$output/images.json"
part images 105 "$python" benchmarks/image_speed.py --only train --device "$device" --models "${models[@]}" --repeats 1 \
    --steps "$steps" --batch-rows "$rows" --results "$output/images.json"
part style-gan 150 "$python" benchmarks/gpu.py style-gan --device "$device" --output "$output" "${data[@]}" "${quick[@]}"

printf '\nresults in %s\n' "$output"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[*]}"
    exit 1
fi
