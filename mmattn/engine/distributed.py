"""Set up several processes on GPUs (NCCL) or on CPUs (gloo), with unchanged configs.

On GPUs the Runner does everything. Without a GPU, MMEngine would still call ``torch.cuda.set_device`` and
give DDP a device number, so the process group is made here, before the Runner, which then leaves it
alone.
"""

from __future__ import annotations

import atexit
import gc
import os
import subprocess
import sys
from datetime import timedelta
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from torch import distributed as torch_dist

# Launcher -> the environment variables with a process's rank, the number of processes, and the rank
# among the processes of its machine.
_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


LAUNCHERS = ('none', *_VARIABLES)


class Ranks(NamedTuple):
    """The place of a process in a distributed run."""

    rank: int
    world_size: int
    local_rank: int


def read_ranks(launcher: str) -> Ranks:
    """Return the place that the launcher gave to this process.

    Raises:
        RuntimeError: If this process was not started by ``launcher``.
    """
    if launcher == 'none':
        return Ranks(0, 1, 0)
    names = _VARIABLES[launcher]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise RuntimeError(
            f'--launcher {launcher} was asked for, but {", ".join(missing)} is not set: this '
            'process was not started by it. Start with tools/dist_train.sh or torchrun (pytorch), '
            'tools/slurm_train.sh (slurm) or mpirun (mpi), or leave --launcher out'
        )
    return Ranks(*(int(os.environ[name]) for name in names))


def launched_rank() -> int:
    """Return this process's rank by whatever launcher started it; 0 if none did."""
    for rank, *_ in _VARIABLES.values():
        if os.environ.get(rank, '').isdecimal():
            return int(os.environ[rank])
    return 0


def prepare_processes(cfg: Config) -> None:
    """Make ``cfg.launcher`` work on this machine; call it before the Runner is built.

    On CPUs the gloo process group is made, and DDP gets no device numbers. On both kinds of device the
    running statistics of norms are averaged over the processes at the end of each epoch. CBAM's norm
    learns such statistics; without averaging, each process would evaluate with its own, and the
    checkpoint would hold those of rank 0, so that testing it would give another AP than the run printed.

    Raises:
        RuntimeError: If this process was not started by the launcher.
        TypeError: If ``env_cfg.dist_cfg.timeout`` is no number of seconds.
        ValueError: If there are more processes than GPUs, or the address of rank 0 cannot be found.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        return
    rank, world_size, local_rank = read_ranks(launcher)
    # The Runner looks for torchrun's names, whatever the launcher is.
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
    # Seconds, as MMEngine takes them. A machine that loses its power says no goodbye: this ends the wait.
    timeout = (cfg.env_cfg.get('dist_cfg') or {}).get('timeout')
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))):
        raise TypeError(f'env_cfg.dist_cfg.timeout is {timeout!r}: a number of seconds is needed')
    if not torch_dist.is_initialized():
        torch_dist.init_process_group(
            backend='gloo', timeout=None if timeout is None else timedelta(seconds=timeout)
        )
    cfg.env_cfg.dist_cfg = dict(backend='gloo', timeout=timeout)
    # A value in the config wins over the Runner's own device_ids=[LOCAL_RANK].
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **(cfg.get('model_wrapper_cfg') or {}),
        'device_ids': None,
    }


def end_process() -> None:
    """End this process with exit code 0 if it talked to others by gloo; return otherwise.

    A thread of gloo may still free the tensors of the last collective, for which it asks for Python's lock.
    If Python is finalizing by then, it ends that thread, which C++ answers by aborting the process, now and
    then and on a busy machine. Destroying the process group does not help, since DDP keeps
    it alive. So the process ends as multiprocessing's children do: after the exit handlers, without
    finalization.
    """
    if not torch_dist.is_initialized() or torch_dist.get_backend() != 'gloo':
        return
    gc.collect()  # what writes its rest when it is deleted
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _first_host(launcher: str, world_size: int) -> str:
    """Return the machine of rank 0, where the processes meet."""
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


def _slurm_first_host() -> str:
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
