"""Several processes on the CPU, on one machine or two, by torchrun or slurm."""

import json
import os
import re
import socket
import stat
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from mmattn.engine import distributed
from tests.squares import as_arguments, small, write_squares

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'
NO_GPU = dict(CUDA_VISIBLE_DEVICES='-1')


pytestmark = pytest.mark.usefixtures('in_project')


def free_port():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


def environment(**more):
    return {
        **os.environ,
        'PYTHON': sys.executable,
        'OMP_NUM_THREADS': '1',
        'PORT': free_port(),
        **NO_GPU,
        **more,
    }


def shell(script, *arguments, **more):
    return subprocess.run(
        ['bash', f'tools/{script}', *map(str, arguments)],
        text=True,
        timeout=550,
        capture_output=True,
        env=environment(**more),
    )


def ap(done):
    """The AP that a run printed last."""
    assert done.returncode == 0, done.stderr[-20000:]
    return re.findall(r'coco/bbox_mAP: ([-0-9.]+)', done.stdout + done.stderr)[-1]


def metrics(done):
    """All COCO metrics that a run printed last."""
    assert done.returncode == 0, done.stderr[-20000:]
    found = dict(re.findall(r'(coco/bbox_mAP\w*): ([-0-9.]+)', done.stdout + done.stderr))
    assert len(found) == 6
    return found


def options(**more):
    return as_arguments(
        small(train_cfg__max_epochs=8, train_cfg__val_interval=8, train_dataloader__batch_size=2, **more)
    )


@pytest.mark.slow
def test_two_processes_train_and_test(squares, tmp_path):
    done = shell('dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, '--data-root', squares, *options())
    trained = ap(done)
    assert float(trained) > 0.05
    assert 'Epoch(train) [8][4/4]' in done.stdout + done.stderr  # 16 images, 2 x 2 a step
    checkpoint = tmp_path / 'epoch_8.pth'
    flags = ['--work-dir', tmp_path, *as_arguments(small())]
    assert ap(shell('dist_test.sh', CONFIG, checkpoint, 1, '--data-root', squares, *flags)) == trained
    # Seven images, which neither two nor four processes can share evenly.
    odd = write_squares(tmp_path / 'odd', train=1, val=7)
    found = [
        metrics(shell('dist_test.sh', CONFIG, checkpoint, processes, '--data-root', odd, *flags))
        for processes in (1, 2, 4)
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_two_processes_look_at_attention(squares, tmp_path, request):
    """Both compute, one writes."""
    config = tmp_path / 'looking.py'
    config.write_text(f"""_base_ = '{request.config.rootpath / CONFIG}'
custom_hooks = [dict(type='mmattn.AttentionStatsHook', interval=2),
                dict(type='mmattn.AttentionMapHook', pictures=1, dpi=20)]
""")
    done = shell(
        'dist_train.sh',
        config,
        2,
        '--work-dir',
        tmp_path,
        '--data-root',
        squares,
        *as_arguments(small(train_cfg__max_epochs=1, train_dataloader__batch_size=2)),
    )
    assert done.returncode == 0, done.stderr[-20000:]
    (file,) = tmp_path.rglob('scalars.json')
    steps = [
        line['step']
        for line in map(json.loads, file.read_text().splitlines())
        if 'attention/backbone.layer1.0.residual/spatial_mean' in line
    ]
    assert steps == [2, 4]
    assert [path.name for path in tmp_path.rglob('attention_*.png')] == ['attention_val_0_4.png']


@pytest.mark.slow
def test_two_machines_train_together(squares, tmp_path):
    """Both on this one: what counts is that they find each other and share the work."""
    more = environment(NNODES='2', MASTER_ADDR='127.0.0.1')
    machines = [
        subprocess.Popen(
            [
                'bash',
                'tools/dist_train.sh',
                CONFIG,
                '1',
                '--work-dir',
                str(tmp_path),
                '--data-root',
                str(squares),
                *as_arguments(small(train_cfg__max_epochs=1)),
            ],
            env={**more, 'NODE_RANK': str(rank)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    printed = [machine.communicate(timeout=300)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], printed[0][-3000:]
    assert 'Epoch(train) [1][2/2]' in printed[0]
    assert (tmp_path / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_slurm_processes_find_each_other(squares, tmp_path):
    """An srun that starts the processes here, with the variables that slurm would set."""
    tools = tmp_path / 'bin'
    tools.mkdir()
    (tools / 'scontrol').write_text('#!/bin/sh\necho 127.0.0.1\necho elsewhere\n')
    (tools / 'srun').write_text(
        '#!/usr/bin/env bash\n'
        'echo "$@" > "$SRUN_LOG"\n'
        'while [[ $1 != */python* ]]; do [[ $1 = --ntasks=* ]] && n=${1#*=}; shift; done\n'
        'export SLURM_NTASKS=$n SLURM_NODELIST=nodes\n'
        'for ((i = 0; i < n; i++)); do\n'
        '  SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & pids+=($!)\n'
        'done\n'
        'for pid in "${pids[@]}"; do wait "$pid" || exit 1; done\n'
    )
    for tool in tools.iterdir():
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    more = dict(
        PATH=f'{tools}:{os.environ["PATH"]}',
        SRUN_LOG=str(tmp_path / 'srun.txt'),
        GPUS='2',
        GPUS_PER_NODE='0',
        MASTER_PORT=free_port(),
        SRUN_ARGS='--exclusive --mem=0',
    )
    done = shell(
        'slurm_train.sh',
        'cpu',
        'squares',
        CONFIG,
        tmp_path / 'work',
        '--data-root',
        squares,
        *options(),
        **more,
    )
    trained = ap(done)
    asked = (tmp_path / 'srun.txt').read_text()
    assert '-p cpu --job-name=squares --ntasks=2 ' in asked and '--exclusive --mem=0' in asked
    assert '--gres' not in asked
    flags = ['--work-dir', tmp_path, '--data-root', squares, *as_arguments(small())]
    more['MASTER_PORT'] = free_port()
    tested = shell(
        'slurm_test.sh', 'cpu', 'squares', CONFIG, tmp_path / 'work' / 'epoch_8.pth', *flags, **more
    )
    assert ap(tested) == trained


@pytest.mark.slow
def test_a_corrupt_image_ends_all_processes(corrupt_squares, tmp_path):
    done = shell(
        'dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, '--data-root', corrupt_squares, *options()
    )
    assert done.returncode != 0
    assert done.stderr.count('train_3.png') == 1  # said once


@pytest.mark.slow
def test_wrong_data_ends_all_processes(tmp_path):
    done = shell(
        'dist_train.sh',
        'configs/cbam/retinanet_r18-cbam_fpn_1x_coco.py',
        2,
        '--work-dir',
        tmp_path,
        '--data-root',
        tmp_path / 'nowhere',
    )
    assert done.returncode != 0
    assert 'nowhere/annotations/instances_train2017.json' in done.stderr


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_scripts_say_how_they_are_used(script):
    done = shell(script)
    assert done.returncode == 2
    assert f'usage: bash tools/{script} ' in done.stderr


@pytest.mark.parametrize('count', ['0', '-1', 'two', '--amp', ''])
@pytest.mark.parametrize('script, before', [('dist_train.sh', ['c.py']), ('dist_test.sh', ['c.py', 'c.pth'])])
def test_wrong_numbers_of_processes(script, before, count):
    done = shell(script, *before, count)
    assert done.returncode == 2
    assert done.stderr.startswith(f'usage: bash tools/{script} ')
    assert done.stderr.endswith('PROCESSES is a whole number from 1\n')


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    for name, value in dict(RANK='2', WORLD_SIZE='4', LOCAL_RANK='2').items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError,
        match='process 2 of this machine finds no GPU of its own: 2 '
        'visible. Start as many processes as there are GPUs',
    ):
        distributed.prepare_processes(Config(dict(launcher='pytorch', env_cfg=dict())))


def test_on_gpus_the_runner_makes_the_group(monkeypatch):
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    for name, value in dict(RANK='1', WORLD_SIZE='2', LOCAL_RANK='1').items():
        monkeypatch.setenv(name, value)
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(backend='nccl'))))
    distributed.prepare_processes(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'nccl'
    assert 'model_wrapper_cfg' not in cfg
    assert cfg.custom_hooks == [dict(type='SyncBuffersHook')]
    assert not torch.distributed.is_initialized()
