#!/usr/bin/env bash
# What only a GPU shows: the five mixers at tiny in half precision, trained, compiled and at batch 1.
#
#   bash benchmarks/gpu.sh OUT        tables on the screen, stores under OUT
#   PYTHON=python3 BUDGET=8 bash benchmarks/gpu.sh OUT    about 2 minutes a run on one H200, more where models are compiled
set -uo pipefail
out=${1:?expected a folder for the stores, got nothing}
python=${PYTHON:-python} budget=${BUDGET:-15}

profile() { # name, options
    local name=$1
    shift
    echo "== $name: stmbench profile --scale tiny $*"
    "$python" -m stmbench profile --scale tiny --time-budget "$budget" --out "$out/$name" "$@" || echo "exit code $?"
}

profile infer_bf16 --dtype bf16
profile infer_tf32 --dtype tf32 --batch-size 128
profile train_bf16 --dtype bf16 --mode train --batch-size 128
profile train_fp16 --dtype fp16 --mode train --batch-size 128
profile compile_bf16 --dtype bf16 --compile --batch-size 128
