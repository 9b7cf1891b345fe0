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
# RDZV=c10d lets machines that failed come back, MAX_RESTARTS times.
run_with_torchrun() {
    local processes=$1 tool=$2 meet
    local nodes=${NNODES:-1} rank=${NODE_RANK:-0} address=${MASTER_ADDR:-127.0.0.1} port=${PORT:-29500}
    # Each process gets its share of the processors: more threads than processors slow every step down.
    local share=$(($(nproc) / processes))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((share > 1 ? share : 1))}
    case ${RDZV:-static} in
        static) meet=(--node_rank="$rank" --master_addr="$address" --master_port="$port") ;;
        c10d)
            # The first machine keeps the list of those present; told so, no name has to be guessed from.
            meet=(--rdzv_backend=c10d --rdzv_endpoint="$address:$port" --rdzv_id="${RDZV_ID:-mmattn}"
                --rdzv_conf="is_host=$([ "$rank" = 0 ] && echo true || echo false)")
            # With a shared store, a machine that comes back waits in vain for an address that is told once.
            export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
            ;;
        *) usage "RDZV='$RDZV': static (the default) or c10d" ;;
    esac
    exec "${PYTHON:-python}" -m torch.distributed.run \
        --nnodes="$nodes" \
        --nproc_per_node="$processes" \
        --max_restarts="${MAX_RESTARTS:-0}" \
        ${LOCAL_ADDR:+--local_addr="$LOCAL_ADDR"} \
        "${meet[@]}" \
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
