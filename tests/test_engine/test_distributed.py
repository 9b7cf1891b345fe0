"""What a launcher tells a process."""

import subprocess
import sys

import pytest

from mmattn.engine.distributed import _first_host, end_process, read_ranks


@pytest.mark.parametrize(
    'launcher, names',
    [
        ('pytorch', ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')),
        ('slurm', ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')),
        ('mpi', ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK')),
    ],
)
def test_ranks_are_read_from_the_launcher(launcher, names, monkeypatch):
    for i, name in enumerate(names):
        monkeypatch.setenv(name, '361'[i])
    assert read_ranks(launcher) == (3, 6, 1)
    monkeypatch.delenv(names[1])
    with pytest.raises(
        RuntimeError,
        match=f'--launcher {launcher} was asked for, but {names[1]} '
        'is not set: this process was not started by it',
    ):
        read_ranks(launcher)


def test_one_process_has_rank_0_of_1():
    assert read_ranks('none') == (0, 1, 0)


def test_mpi_on_several_machines_needs_the_address(monkeypatch):
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_SIZE', '2')
    assert _first_host('mpi', 2) == '127.0.0.1'
    with pytest.raises(
        ValueError,
        match='with 4 processes, of which 2 are on this machine, and '
        'MASTER_ADDR is not set. Set it to the name of the machine of rank 0',
    ):
        _first_host('mpi', 4)


def test_slurm_without_scontrol_says_what_to_set(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setenv('SLURM_NODELIST', 'node[1-2]')
    with pytest.raises(
        RuntimeError,
        match=r'scontrol was asked for the first machine of '
        r"'node\[1-2\]', but failed: .*scontrol.*Set MASTER_ADDR to the name",
    ):
        _first_host('slurm', 2)


def test_a_process_that_used_gloo_ends_without_finalization(tmp_path):
    """Exit handlers run and output is written, but Python is not taken down under the threads of gloo."""
    script = tmp_path / 'tool.py'
    script.write_text(
        """
import atexit
import torch
from mmattn.engine.cli import run_tool

class Finalized:
    def __del__(self, write=__import__('os').write):
        write(1, b'finalized ')

def main():
    globals()['kept'] = Finalized()
    atexit.register(print, 'handlers', end=' ')
    torch.distributed.init_process_group('gloo', init_method='file://STORE', rank=0, world_size=1)
    torch.distributed.all_reduce(torch.ones(1))
    print('done', end=' ')

run_tool(main)
print('not reached')
""".replace('STORE', str(tmp_path / 'store'))
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, 'done handlers '), done.stderr


def test_other_processes_end_as_ever():
    end_process()
