#!/usr/bin/env bash
# [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#     bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]
set -euo pipefail
source "$(dirname "$0")/_dist.sh"
if [ $# -lt 4 ]; then
    usage "usage: bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options]"
fi
run_with_slurm "$1" "$2" test.py "$3" "$4" --launcher=slurm "${@:5}"
