"""Two and three machines, one of which fails while they train: nothing hangs, and the run can come back."""

import re
import sys
import time
from pathlib import Path

import pytest

from tests.squares import as_arguments, small, write_squares
from tests.test_tools.machines import machines, missing_reason, wait_for

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'
REASON = missing_reason()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=str(REASON))]
ERROR_WITHIN = 60
"""Seconds within which every process has ended with an error after a machine died (docs/train.md)."""


@pytest.fixture(scope='module')
def squares(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp('data') / 'squares', train=24)


@pytest.fixture(autouse=True)
def _in_project(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def start(machine, rank, count, squares, work, arguments=(), epochs=3, cfg_options=None, **variables):
    options = small(
        train_cfg__max_epochs=epochs,
        train_cfg__val_interval=epochs,
        train_dataloader__batch_size=1,
        **(cfg_options or {}),
    )
    command = ['bash', 'tools/dist_train.sh', CONFIG, 1, '--work-dir', work, '--data-root', squares]
    return machine.start(
        [*command, *arguments, *as_arguments(options)],
        f'{work}-{machine.name}.txt',
        PYTHON=sys.executable,
        OMP_NUM_THREADS='1',
        CUDA_VISIBLE_DEVICES='-1',
        NNODES=str(count),
        NODE_RANK=str(rank),
        MASTER_ADDR='machine-0',
        **variables,
    )


def log_of(work, machine):
    return Path(f'{work}-{machine.name}.txt').read_text()


def steps(work, machine, epoch, step):
    """How often the log has this training step."""
    return len(re.findall(rf'Epoch\(train\) +\[{epoch}\]\[ *{step}/', log_of(work, machine)))


def wait_for_step(work, machine, process, epoch, step):
    wait_for(
        lambda: process.poll() is not None or steps(work, machine, epoch, step),
        300,
        f'step {step} of epoch {epoch}:\n{log_of(work, machine)[-3000:]}',
    )
    assert process.poll() is None, log_of(work, machine)[-3000:]


def end_of(processes, seconds):
    """Exit codes of the processes, all of which must end in time."""
    end = time.monotonic() + seconds
    return [process.wait(max(0.1, end - time.monotonic())) for process in processes]


@pytest.mark.parametrize('count', [2, 3])
def test_machines_train_together(count, squares, tmp_path):
    work = tmp_path / 'work'
    with machines(count) as made:
        processes = [start(m, i, count, squares, work, epochs=1) for i, m in enumerate(made)]
        codes = end_of(processes, 400)
        assert codes == [0] * count, log_of(work, made[0])[-3000:]
        assert steps(work, made[0], 1, 24 // count) == 1
        assert (work / 'epoch_1.pth').is_file()


@pytest.mark.parametrize('count, dies', [(2, 1), (3, 0), (3, 2)])
def test_all_end_with_an_error_when_a_machine_dies(count, dies, squares, tmp_path):
    work = tmp_path / 'work'
    with machines(count) as made:
        processes = [start(m, i, count, squares, work, epochs=50) for i, m in enumerate(made)]
        wait_for_step(work, made[0], processes[0], 1, 2)
        made[dies].kill()
        rest = [process for i, process in enumerate(processes) if i != dies]
        assert 0 not in end_of(rest, ERROR_WITHIN)


def test_all_end_with_an_error_when_a_machine_loses_its_cable(squares, tmp_path):
    """No packet tells that it is gone: the timeout of the process group does."""
    work = tmp_path / 'work'
    options = {'env_cfg.dist_cfg.timeout': 20}
    with machines(2) as made:
        processes = [
            start(m, i, 2, squares, work, epochs=50, cfg_options=options) for i, m in enumerate(made)
        ]
        wait_for_step(work, made[0], processes[0], 1, 2)
        made[1].unplug()
        assert 0 not in end_of(processes, 20 + ERROR_WITHIN)


def test_a_machine_that_comes_back_goes_on_from_the_checkpoint(squares, tmp_path):
    work = tmp_path / 'work'
    more = dict(RDZV='c10d', MAX_RESTARTS='3')
    with machines(2) as made:
        processes = [start(m, i, 2, squares, work, ['--resume'], **more) for i, m in enumerate(made)]
        wait_for_step(work, made[0], processes[0], 2, 2)
        made[1].kill()
        back = start(made[1], 1, 2, squares, work, ['--resume'], **more)
        assert end_of([processes[0], back], 400) == [0, 0], log_of(work, made[0])[-3000:]
        log = log_of(work, made[0])
        assert re.search(r'resumed epoch: 1,', log), log[-3000:]
        assert steps(work, made[0], 1, 2) == 1 and steps(work, made[0], 3, 2) == 1
        assert (work / 'epoch_3.pth').is_file()
