"""What a launcher tells a process."""
import pytest

from mmattn.engine.distributed import read_ranks


@pytest.mark.parametrize('launcher, names', [
    ('pytorch', ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')),
    ('slurm', ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')),
    ('mpi', ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK')),
])
def test_ranks(launcher, names, monkeypatch):
    for i, name in enumerate(names):
        monkeypatch.setenv(name, '361'[i])
    assert read_ranks(launcher) == (3, 6, 1)
    monkeypatch.delenv(names[1])
    with pytest.raises(RuntimeError, match=f'--launcher {launcher} was asked for, but {names[1]} '
                       'is not set: this process was not started by it'):
        read_ranks(launcher)


def test_one_process():
    assert read_ranks('none') == (0, 1, 0)
