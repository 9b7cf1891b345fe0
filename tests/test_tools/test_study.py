"""tools/study.py as a user runs it: what is checked first, kills, a variant that fails."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from mmengine.hub import get_model

from mmattn.study import controller
from mmattn.study.record import read_record, state_of, write_record
from tests.coco_stand_in import write_coco
from tests.test_study.studies import SE, write_base, write_study


@pytest.fixture(scope='module')
def base(squares, tmp_path_factory, request):
    """Config of a small detector of the easy data."""
    return write_base(tmp_path_factory.mktemp('base') / 'base.py', squares, request.config.rootpath)


@pytest.fixture
def a_study(base, tmp_path, monkeypatch):
    """Write the config of a study with these settings, in the current folder; return its path."""
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(base, tmp_path / 'base.py')
    return lambda **settings: write_study(tmp_path / 'study.py', **settings)


def test_commands_of_runs_and_the_status(a_study, run_tool, tmp_path):
    done = run_tool('study.py', 'run', a_study(seeds='[0]'), '--print-commands')
    assert done.code == 0
    commands = [shlex.split(line) for line in done.out.splitlines() if 'mmattn.study' in line]
    folders = [f'work_dirs/study/{variant}/seed_0' for variant in ('plain', 'se')]
    assert [command[1:] for command in commands] == [['-m', 'mmattn.study', folder] for folder in folders]
    assert all((tmp_path / folder / 'config.py').is_file() for folder in folders)
    for given in ('study.py', 'work_dirs/study'):
        done = run_tool('study.py', 'status', given)
        assert done.code == 0 and done.out.count('waiting') == 2
        assert done.out.endswith('0 of 2 runs finished\n')


def test_who_goes_on_with_another_mmattn_is_warned(a_study, run_tool, tmp_path):
    command = ['study.py', 'run', a_study(seeds='[0]'), '--print-commands']
    assert 'warning: runs' not in run_tool(*command).err
    folder = tmp_path / 'work_dirs/study/plain/seed_0'
    record = read_record(folder)
    write_record(folder, record | dict(status='failed', sessions=[dict(commit='a' * 40)]))
    done = run_tool(*command)
    assert done.err.count('study: warning: runs of this study were trained by another commit') == 1
    assert '(1 by aaaaaaaaaaaa); this is ' in done.err and len(done.out.splitlines()) == 2


def test_a_mistake_ends_before_anything_is_made(a_study, run_tool, tmp_path):
    bad = "dict(good={}, bad=dict(insert=[dict(at='nowhere', block=dict(type='mmattn.SE'))]))"
    done = run_tool('study.py', 'run', a_study(variants=bad))
    assert done.code == 2 and "study.py: the variant 'bad' cannot be built: " in done.err
    assert not (tmp_path / 'work_dirs').exists()
    done = run_tool('study.py', 'run', a_study(), '--workers', '0')
    assert done.code == 2 and '--workers is at least 1' in done.err
    done = run_tool('study.py', 'status', 'nowhere')
    assert done.code == 2 and "study.py: 'nowhere' is not the folder of a study" in done.err


@pytest.mark.parametrize('options', [('--step-seconds', '1'), ('--dry-run', '--step-seconds', '0')])
def test_the_time_of_a_step_is_for_the_estimate(a_study, run_tool, options):
    done = run_tool('study.py', 'run', a_study(), *options)
    assert done.code == 2 and '--step-seconds is a number above 0, and goes with --dry-run' in done.err


@pytest.mark.slow
def test_the_cost_of_coco_is_said(run_tool, request, tmp_path, monkeypatch):
    """12 epochs of 5 batches of 16, on a machine with neither COCO nor a GPU nor the weights of ResNet."""
    monkeypatch.chdir(tmp_path)
    path = request.config.rootpath / 'configs/studies/coco_r50_1x.py'
    command = ['study.py', 'run', path, '--dry-run', '--step-seconds', '2']
    data = ['--data-root', write_coco(tmp_path, train=83, val=4, empty=3)]
    done = run_tool(*map(str, [*command, *data, '--cfg-options', 'settings.model.backbone.init_cfg=None']))
    assert done.code == 0, done.err
    rows = [line.split('│')[1:-1] for line in done.out.splitlines() if line.startswith('│')]
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert list(rows) == ['plain', 'se', 'eca', 'cbam']
    stock = get_model('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    assert rows['plain'][1] == f'{sum(p.numel() for p in stock.parameters()):,}'
    assert all(row[-3:-1] == ['60', '2.000'] for row in rows.values())
    assert '12 runs, 0 of them finished: about ' in done.out and not (tmp_path / 'work_dirs').exists()


def test_what_fails_is_said_at_the_end(a_study, run_tool, monkeypatch, tmp_path):
    (tmp_path / 'fails.py').write_text('raise SystemExit(5)')
    monkeypatch.setattr(controller, 'POLL', 0.02)
    monkeypatch.setattr(controller, 'run_command', lambda run: [sys.executable, '-S', 'fails.py'])
    done = run_tool('study.py', 'run', a_study(seeds='[0]', controls="['plain', 'capacity']"))
    assert done.code == 'study: 3 of 3 runs failed: plain, seed 0; capacity, seed 0; se, seed 0. The same ' \
        'command tries them again'  # fmt: skip
    assert 'plain, seed 0: FAILED: its process ended with exit code 5' in done.out


def study(root, *arguments):
    """Start tools/study.py as a process."""
    return subprocess.Popen(
        [sys.executable, str(root / 'tools/study.py'), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_a_variant_that_fails_and_kills_of_worker_and_controller(a_study, request, tmp_path):
    """After all kills, the same bits: detections, metrics, weights."""
    root = request.config.rootpath
    settings = dict(
        seeds='[0]',
        variants=f"dict(se={SE}, broken={{'optim_wrapper.optimizer.lr': 'fast'}})",
        settings="{'train_cfg.max_epochs': 4}",
    )
    whole = study(root, 'run', a_study(**settings), '--work-dir', 'whole')
    out, _ = whole.communicate()
    assert whole.returncode == 1 and 'study: 1 of 3 runs failed: broken, seed 0.' in out
    assert 'broken, seed 0: FAILED: ' in out and "'str'" in read_record('whole/broken/seed_0')['error']

    plain, se = (tmp_path / 'killed' / variant / 'seed_0' for variant in ('plain', 'se'))
    first = study(root, 'run', 'study.py', '--work-dir', 'killed')
    wait_until((plain / 'epoch_2.pth').exists)
    os.kill(read_record(plain)['sessions'][-1]['pid'], signal.SIGKILL)  # the worker
    wait_until((se / 'epoch_1.pth').exists)
    first.kill()  # the controller; its worker goes on
    first.communicate()
    assert read_record(plain)['error'] == 'its process was killed by SIGKILL' and state_of(se) == 'running'
    os.kill(read_record(se)['sessions'][-1]['pid'], signal.SIGKILL)
    wait_until(lambda: state_of(se) == 'interrupted')

    second = study(root, 'run', 'study.py', '--work-dir', 'killed')
    wait_until(lambda: state_of(plain) == 'running')
    third = study(root, 'run', 'study.py', '--work-dir', 'killed')
    out, _ = third.communicate()
    assert third.returncode == 2 and f'is being worked on by process {second.pid} on ' in out
    out, _ = second.communicate()
    assert second.returncode == 1 and 'plain, seed 0: goes on from about iteration' in out
    import torch

    from tests.test_tools.killed_runs import differences

    for run in (plain, se):
        other = tmp_path / 'whole' / run.parent.name / 'seed_0'
        one, two = read_record(run), read_record(other)
        assert (one['status'], len(one['sessions']), len(two['sessions'])) == ('finished', 2, 1)
        assert one['metrics'] == two['metrics']
        one, two = ([each['metrics'] for each in record['evaluations']] for record in (one, two))
        assert one == two and len(one) == 4
        detections = [(folder / 'detections.bbox.json').read_bytes() for folder in (run, other)]
        assert detections[0] == detections[1] and json.loads(detections[0])
        ends = [torch.load(folder / 'epoch_4.pth', weights_only=False) for folder in (run, other)]
        assert not differences(*([end[key] for key in ('state_dict', 'optimizer')] for end in ends))
    before = (plain / 'run.json').stat().st_mtime_ns
    out, _ = study(root, 'run', 'study.py', '--work-dir', 'killed').communicate()
    assert (plain / 'run.json').stat().st_mtime_ns == before and '2 of 3 runs finished, 1 failed' in out
