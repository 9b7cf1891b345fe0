"""`tools/train.py` and `tools/test.py` as programs."""

import os
import subprocess
import sys

import pytest

from tests.squares import as_arguments, small

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'

pytestmark = pytest.mark.usefixtures('in_project')


def run(tool, *arguments, **environment):
    project = os.getcwd()
    return subprocess.run(
        [sys.executable, f'{project}/tools/{tool}', CONFIG, *map(str, arguments)],
        text=True,
        capture_output=True,
        timeout=300,
        env={**os.environ, 'PYTHONPATH': project, 'OMP_NUM_THREADS': '1', **environment},
    )


@pytest.mark.slow
def test_a_corrupt_image_is_named(corrupt_squares, tmp_path):
    done = run('train.py', '--work-dir', tmp_path, '--data-root', corrupt_squares, *as_arguments(small()))
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert 'train_3.png' in last and 'cannot be decoded' in last


@pytest.mark.slow
def test_tools_have_the_flags_of_mmdetection(squares, tmp_path):
    options = as_arguments(small(train_cfg__max_epochs=1))
    done = run('train.py', '--work-dir', tmp_path, '--data-root', f'{squares}/', *options)
    assert done.returncode == 0, done.stderr
    flags = ['--work-dir', tmp_path, '--tta', '--out', tmp_path / 'out.pkl']
    options = as_arguments(small())
    done = run('test.py', tmp_path / 'epoch_1.pth', *flags, *options, MMATTN_DATA_ROOT=str(squares))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'out.pkl').is_file()
