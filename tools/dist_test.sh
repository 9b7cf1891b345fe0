#!/usr/bin/env bash
# [NNODES=1] [NODE_RANK=0] [MASTER_ADDR=127.0.0.1] [PORT=29500] \
#     bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]
set -euo pipefail
source "$(dirname "$0")/_dist.sh"
if [ $# -lt 3 ] || [[ ! $3 =~ ^[1-9][0-9]*$ ]]; then
    usage "usage: bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]" \
        "PROCESSES is a whole number from 1"
fi
run_with_torchrun "$3" test.py "$1" "$2" --launcher pytorch "${@:4}"
