#!/usr/bin/env bash
# [NNODES=1] [NODE_RANK=0] [MASTER_ADDR=127.0.0.1] [PORT=29500] \
#     bash tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
set -euo pipefail
source "$(dirname "$0")/_dist.sh"
if [ $# -lt 2 ] || [[ ! $2 =~ ^[1-9][0-9]*$ ]]; then
    usage "usage: bash tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]" \
        "PROCESSES is a whole number from 1"
fi
run_with_torchrun "$2" train.py "$1" --launcher pytorch "${@:3}"
