#!/usr/bin/env bash
# bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]
#
# One process a GPU (NCCL), or processes on CPUs (gloo) where there is no GPU. Several machines: run it on each
# with NNODES, NODE_RANK and MASTER_ADDR set. PORT must be free on the first machine.
set -euo pipefail
if [ $# -lt 3 ] || [[ ! $3 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]" >&2
    echo "PROCESSES is a whole number from 1" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
PROCESSES=$3
TOOLS=$(cd "$(dirname "$0")" && pwd)
# Each process its share of the processors: more threads than processors slow every step down.
SHARE=$(($(nproc) / PROCESSES))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((SHARE > 1 ? SHARE : 1))}

PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" \
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --nproc_per_node="$PROCESSES" \
    --master_port="${PORT:-29500}" \
    "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
