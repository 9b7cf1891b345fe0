"""Several processes on GPUs (NCCL) or on CPUs (gloo), with unchanged configs.

On GPUs the Runner does everything. Without a GPU, MMEngine would still call
``torch.cuda.set_device`` and give DDP a device number, so here the process group is made before the
Runner, which then leaves it alone.
"""

import os
import subprocess

import torch
from mmengine.device import get_device
from torch import distributed as torch_dist

# launcher -> the variables in which it tells a process its rank, the number of processes, and its
# rank among those of this machine
_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def read_ranks(launcher):
    """What the launcher told this process: its rank, the number of processes, its local rank."""
    if launcher == 'none':
        return 0, 1, 0
    names = _VARIABLES[launcher]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise RuntimeError(
            f'--launcher {launcher} was asked for, but {", ".join(missing)} is not set: this '
            'process was not started by it. Start with tools/dist_train.sh or torchrun (pytorch), '
            'tools/slurm_train.sh (slurm) or mpirun (mpi), or leave --launcher out'
        )
    return tuple(int(os.environ[name]) for name in names)


def prepare_processes(cfg):
    """Make ``cfg.launcher`` work on this machine; call it before the Runner is built.

    Asking for more processes than there are GPUs is an error here and not a CUDA one later. On CPUs
    the gloo process group is made and DDP is told not to use device numbers. On both, the running
    statistics of norms are averaged over the processes at the end of each epoch: CBAM's norm learns
    them, and without this each process would evaluate with its own, and the checkpoint would hold
    those of the first, so that testing it gives another AP than the run printed.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return
    rank, world_size, local_rank = read_ranks(launcher)
    # Under torchrun's names too, where the Runner looks for them whatever the launcher is.
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world_size), LOCAL_RANK=str(local_rank))
    hooks = list(cfg.get('custom_hooks') or [])
    if not any(hook.get('type') == 'SyncBuffersHook' for hook in hooks if isinstance(hook, dict)):
        cfg.custom_hooks = [*hooks, dict(type='SyncBuffersHook')]
    device = get_device()
    if device == 'cuda' and local_rank >= torch.cuda.device_count():
        raise ValueError(
            f'process {local_rank} of this machine finds no GPU of its own: '
            f'{torch.cuda.device_count()} visible. Start as many processes as there are GPUs, or '
            'set CUDA_VISIBLE_DEVICES=-1 to train on the CPU'
        )
    if device != 'cpu':
        return
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_host(launcher, world_size)
    if not torch_dist.is_initialized():
        torch_dist.init_process_group(backend='gloo')
    cfg.env_cfg.dist_cfg = dict(backend='gloo')
    # A value in the config wins over the Runner's own device_ids=[LOCAL_RANK].
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **(cfg.get('model_wrapper_cfg') or {}),
        'device_ids': None,
    }


def _first_host(launcher, world_size):
    """The machine where the processes find each other."""
    if launcher == 'slurm':
        return _slurm_first_host()
    if launcher == 'mpi' and os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE') != str(world_size):
        raise ValueError(
            f'--launcher mpi was asked for with {world_size} processes, of which '
            f'{os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE", "an unknown number")} are on this '
            'machine, and MASTER_ADDR is not set. Set it to the name of the machine of rank 0: '
            'mpirun -x MASTER_ADDR=...'
        )
    return '127.0.0.1'


def _slurm_first_host():
    nodes = os.environ['SLURM_NODELIST']
    try:
        answer = subprocess.run(
            ['scontrol', 'show', 'hostname', nodes], capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"slurm's scontrol was asked for the first machine of '{nodes}', but failed: {error}. "
            'Set MASTER_ADDR to the name of that machine'
        ) from error
    return answer.stdout.split()[0]
