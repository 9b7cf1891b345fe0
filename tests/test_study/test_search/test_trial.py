"""A trial whose process outlived its search, with a stand-in for that process."""

import subprocess
import sys
import textwrap

import pytest

from mmattn.study import lock
from mmattn.study.plan import Run
from mmattn.study.record import read_record, write_record
from mmattn.study.search import trial as trial_module
from mmattn.study.search.trial import train_trial

NAME = 'coco/bbox_mAP'
# Has the lock of its folder and evaluates until it is told how to end; the lock alone is quick to import.
LEFT = textwrap.dedent("""
    import importlib.util, json, os, sys, time
    spec = importlib.util.spec_from_file_location('lock', sys.argv[1])
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    folder, ends = sys.argv[2:]
    def write(status, count):
        evaluations = [dict(metrics={'coco/bbox_mAP': 0.1 * (i + 1)}) for i in range(count)]
        json.dump(dict(status=status, evaluations=evaluations), open(f'{folder}/new', 'w'))
        os.replace(f'{folder}/new', f'{folder}/run.json')
    with lock.Lock(f'{folder}/run.lock', 'the run'):
        write('running', 1)
        print('running', flush=True)
        for count in (2, 3):
            time.sleep(0.3)
            write('running', count)
        if ends == 'never':
            time.sleep(60)
        write(ends, 3)
""")


@pytest.fixture
def left_behind(tmp_path, monkeypatch):
    """Start a process that ends so; nothing else is started."""
    started = []
    monkeypatch.setattr(trial_module, 'start_run', lambda run: 1 / 0)

    def start(ends):
        command = [sys.executable, '-S', '-E', '-c', LEFT, lock.__file__, str(tmp_path), ends]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert started[0].stdout.readline() == b'running\n'
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def train(folder, watch):
    return train_trial(Run('x', 0, folder), NAME, watch, every=0.05)


def test_a_process_that_was_left_behind_is_waited_for_and_watched(left_behind, tmp_path):
    process, seen = left_behind('finished'), []
    value = train(tmp_path, lambda number, value: seen.append((number, value)))
    assert value == pytest.approx(0.3) and [number for number, _ in seen] == [1, 2, 3]
    assert process.wait() == 0


def test_a_process_that_was_left_behind_is_ended_when_it_falls_behind(left_behind, tmp_path):
    process = left_behind('never')
    assert train(tmp_path, lambda number, value: number == 2) == pytest.approx(0.2)
    assert process.wait() != 0
    record = read_record(tmp_path)
    assert record['status'] == 'pruned' and len(record['evaluations']) == 2


def test_the_training_goes_on_where_the_process_that_was_left_behind_failed(
    left_behind, tmp_path, monkeypatch
):
    left_behind('failed')

    def again(run):
        record = read_record(run.folder)
        more = [*record['evaluations'], dict(metrics={NAME: 0.9})]
        write_record(run.folder, dict(status='finished', evaluations=more))
        return subprocess.Popen(['true'])

    monkeypatch.setattr(trial_module, 'start_run', again)
    seen = []
    assert train(tmp_path, lambda number, value: seen.append(number)) == 0.9
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize('record, says', [
    (dict(status='failed', error='no room'), 'no room'),
    (dict(status='running'), 'its process ended with 0; see '),
    (dict(status='finished'), 'it was never evaluated; see '),
    (dict(status='finished', evaluations=[dict(metrics={})]), "evaluations have no 'coco/bbox_mAP'"),
])  # fmt: skip
def test_a_training_that_fails_says_why(record, says, tmp_path, monkeypatch):
    def fail(run):
        write_record(run.folder, record)
        return subprocess.Popen(['true'])

    monkeypatch.setattr(trial_module, 'start_run', fail)
    write_record(tmp_path, dict(status='waiting'))
    with pytest.raises(trial_module.TrialFailed, match=says):
        train(tmp_path, lambda *_: False)
