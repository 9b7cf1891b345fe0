# Sourced by dist_*.sh and slurm_*.sh: how to start the processes of tools/train.py and tools/test.py.

TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"

# usage MESSAGE...: print the lines and end
usage() {
    printf '%s\n' "$@" >&2
    exit 2
}

# run_with_torchrun PROCESSES TOOL [arguments]
#
# One process per GPU (NCCL), or processes on CPUs (gloo) if there is no GPU. For several machines, run the
# command on each with NNODES, NODE_RANK and MASTER_ADDR set. PORT must be free on the first machine.
run_with_torchrun() {
    local processes=$1 tool=$2
    # Each process gets its share of the processors: more threads than processors slow every step down.
    local share=$(($(nproc) / processes))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((share > 1 ? share : 1))}
    exec "${PYTHON:-python}" -m torch.distributed.run \
        --nnodes="${NNODES:-1}" \
        --node_rank="${NODE_RANK:-0}" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --nproc_per_node="$processes" \
        --master_port="${PORT:-29500}" \
        "$TOOLS/$tool" "${@:3}"
}

# run_with_slurm PARTITION JOB_NAME TOOL [arguments]
#
# GPUS processes (8), GPUS_PER_NODE (8) on each machine, with CPUS_PER_TASK (5) processors each. On a
# partition without GPUs: GPUS is the number of processes, and GPUS_PER_NODE=0 asks for no GPU. SRUN_ARGS are
# more options of srun.
run_with_slurm() {
    local partition=$1 job_name=$2 tool=$3
    local gpus_per_node=${GPUS_PER_NODE:-8} cpus_per_task=${CPUS_PER_TASK:-5} resources=()
    if [ "$gpus_per_node" -gt 0 ]; then
        resources=(--gres="gpu:$gpus_per_node" --ntasks-per-node="$gpus_per_node")
    else
        export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cpus_per_task}
    fi
    # SRUN_ARGS is a list of words, so it is not quoted.
    exec srun -p "$partition" \
        --job-name="$job_name" \
        ${resources[@]+"${resources[@]}"} \
        --ntasks="${GPUS:-8}" \
        --cpus-per-task="$cpus_per_task" \
        --kill-on-bad-exit=1 \
        ${SRUN_ARGS:-} \
        "${PYTHON:-python}" -u "$TOOLS/$tool" "${@:4}"
}
