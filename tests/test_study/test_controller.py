"""The controller with stand-ins for the processes of runs: what is started, when, and what is told."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from rich.console import Console

from mmattn.study import controller
from mmattn.study.controller import run_here, study_lock, visible_gpus
from mmattn.study.lock import Locked, is_locked
from mmattn.study.plan import Run
from mmattn.study.progress import Progress
from mmattn.study.record import read_record, state_of, write_record

# Locks its folder, writes when it runs and where, and ends as its record says.
STAND_IN = textwrap.dedent("""
    import fcntl, json, os, signal, sys, time
    folder = sys.argv[1]
    lock = open(f'{folder}/run.lock', 'a')
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    record = json.load(open(f'{folder}/run.json'))
    record.update(begun=record.get('begun', 0) + 1, status='running', seconds=2.0)
    record['spans'] = record.get('spans', []) + [[time.time(), 0]]
    record['gpu'] = os.environ.get('CUDA_VISIBLE_DEVICES')
    record['threads'] = os.environ.get('OMP_NUM_THREADS')
    def write(**more):
        record.update(more)
        json.dump(record, open(f'{folder}/run.json.new', 'w'))
        os.replace(f'{folder}/run.json.new', f'{folder}/run.json')
    write()
    ends = record.get('ends', 'well')
    time.sleep(60 if ends == 'hangs' else record.get('takes', 0.0))
    if ends == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    if ends == 'fails':
        write(status='failed', error='no room')
        sys.exit(1)
    if ends == 'exits':
        sys.exit(3)
    record['spans'][-1][1] = time.time()
    write(status='finished', metrics={}, evaluations=[dict(metrics={'coco/bbox_mAP': 0.25})])
""")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Make runs whose records are these."""
    (tmp_path / 'stand_in.py').write_text(STAND_IN)
    monkeypatch.setattr(controller, 'POLL', 0.02)
    monkeypatch.setattr(
        controller,
        'run_command',
        lambda run: [sys.executable, '-S', '-E', str(tmp_path / 'stand_in.py'), str(run.folder)],
    )

    def make(*records):
        made = []
        for number, record in enumerate(records):
            made.append(Run(f'v{number}', 0, tmp_path / f'v{number}' / 'seed_0'))
            made[-1].folder.mkdir(parents=True)
            write_record(
                made[-1].folder, dict(dict(status='waiting', variant=f'v{number}', seed=0), **record)
            )
        return made

    return make


@pytest.fixture
def told():
    return io.StringIO()


def go(runs, told, workers=1):
    return run_here(runs, workers, Progress(runs, workers, Console(file=told, width=200)))


def test_finished_runs_are_not_repeated_and_others_are(runs, told):
    made = runs(
        {},
        dict(status='finished', begun=7, seconds=2.0),
        dict(status='running', iteration=40, iterations=100, seconds_here=1.0),
    )
    assert go(made, told) == []
    assert [read_record(run.folder)['begun'] for run in made] == [1, 7, 1]
    assert 'v0, seed 0: starts\n' in told.getvalue()
    assert 'v2, seed 0: goes on from about iteration 40\n' in told.getvalue()
    assert 'v2, seed 0: finished in 2 s, bbox_mAP 0.250\n' in told.getvalue()
    assert told.getvalue().endswith(' 3 of 3 runs finished\n')


def test_a_run_that_fails_is_told_and_does_not_stop_the_others(runs, told):
    made = runs(dict(ends='fails'), dict(ends='kill'), dict(ends='exits'), {})
    assert go(made, told) == made[:3]
    assert [state_of(run.folder) for run in made] == ['failed', 'failed', 'failed', 'finished']
    text = told.getvalue()
    assert f'v0, seed 0: FAILED: no room (see {made[0].folder}/output.log)' in text
    assert 'v1, seed 0: FAILED: its process was killed by SIGKILL' in text
    assert 'v2, seed 0: FAILED: its process ended with exit code 3' in text
    assert '1 of 4 runs finished, 3 failed' in text
    write_record(made[0].folder, dict(read_record(made[0].folder), ends='well'))
    assert go(made[:1], told) == []  # tried again


def test_so_many_at_a_time_and_a_gpu_each(runs, told, monkeypatch):
    monkeypatch.setattr(controller, 'visible_gpus', lambda: ['4', '6'])
    monkeypatch.delenv('OMP_NUM_THREADS')
    made = runs(*[dict(takes=0.3)] * 4)
    assert go(made, told, workers=2) == []
    records = [read_record(run.folder) for run in made]
    assert sorted(record['gpu'] for record in records) == ['4', '4', '6', '6']
    assert records[0]['threads'] == str(max((os.cpu_count() or 1) // 2, 1))
    spans = [record['spans'][0] for record in records]
    together = [sum(begin <= other[0] < end for other in spans) for begin, end in spans]
    assert max(together) == 2
    for gpu in '46':
        (_, ended), (begun, _) = sorted(record['spans'][0] for record in records if record['gpu'] == gpu)
        assert ended <= begun


def test_an_interrupt_ends_the_workers(runs, told):
    made = runs(dict(ends='hangs'), {})
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(KeyboardInterrupt):
        go(made, told)
    assert [state_of(run.folder) for run in made] == ['interrupted', 'waiting']
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_run_that_a_killed_controller_left_behind_is_waited_for(runs, told):
    made = runs(dict(takes=1.0), {})
    orphan = subprocess.Popen(controller.run_command(made[0]))
    while state_of(made[0].folder) != 'running':
        time.sleep(0.02)
    assert go(made, told) == []
    assert [read_record(run.folder)['begun'] for run in made] == [1, 1]
    first, second = (read_record(run.folder)['spans'][0] for run in made)
    assert first[1] <= second[0]  # it counts as one of the workers
    orphan.wait()


def test_an_orphan_that_is_killed_is_gone_on_with(runs, told):
    made = runs(dict(ends='hangs'))
    orphan = subprocess.Popen(controller.run_command(made[0]))
    while state_of(made[0].folder) != 'running':
        time.sleep(0.02)

    def end():
        write_record(made[0].folder, dict(read_record(made[0].folder), ends='well'))
        orphan.kill()
        orphan.wait()

    threading.Timer(0.3, end).start()
    assert go(made, told) == [] and read_record(made[0].folder)['begun'] == 2


def test_a_run_that_another_machine_took_is_waited_for(runs, told, monkeypatch):
    made = runs(dict(takes=1.5))
    other = subprocess.Popen(controller.run_command(made[0]))
    while state_of(made[0].folder) != 'running':
        time.sleep(0.02)
    answers = iter([False])  # it was not locked when the controller looked
    monkeypatch.setattr(controller, 'is_locked', lambda path: next(answers, None) is None and is_locked(path))
    assert go(made, told) == [] and read_record(made[0].folder)['begun'] == 1
    assert 'FAILED' not in told.getvalue() and 'v0, seed 0: finished' in told.getvalue()
    other.wait()


def test_two_controllers_exclude_each_other(tmp_path):
    script = (
        'import sys; from mmattn.study.lock import Lock; lock = Lock(sys.argv[1], "it"); lock.__enter__(); '
    )
    script += 'print("locked", flush=True); sys.stdin.read()'
    command = [sys.executable, '-c', script, str(tmp_path / 'study.lock')]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b'locked\n'
        with pytest.raises(
            Locked, match=rf'the study in \S+ is being worked on by process {other.pid} on'
        ) as error:
            with study_lock(tmp_path):
                raise AssertionError
        assert error.value.mistake_text
        other.stdin.close()
    with study_lock(tmp_path):
        pass


def test_gpus_are_those_that_the_user_chose(monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', 'GPU-a,3')
    assert visible_gpus() == ['GPU-a', '3']
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    assert visible_gpus() == ['0', '1']
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    assert visible_gpus() == []


def test_the_command_of_a_run_is_whole(tmp_path):
    from mmattn.study import controller as fresh

    assert json.dumps(fresh.run_command(Run('a', 0, tmp_path))) == json.dumps(
        [sys.executable, '-m', 'mmattn.study', str(tmp_path)]
    )
