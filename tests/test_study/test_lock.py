import os
import signal
import subprocess
import sys
import textwrap

import pytest

from mmattn.study.lock import Lock, Locked, end_owner, is_locked

# The lock alone, without the packages that take seconds to import.
OWNER = textwrap.dedent("""
    import importlib.util, sys, time
    spec = importlib.util.spec_from_file_location('lock', sys.argv[1])
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    with lock.Lock(sys.argv[2], 'it'):
        print('locked', flush=True)
        time.sleep(60)
""")


@pytest.fixture
def owner(tmp_path):
    """A process that has the lock of a file."""
    import mmattn.study.lock as module

    process = subprocess.Popen(
        [sys.executable, '-c', OWNER, module.__file__, str(tmp_path / 'lock')], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b'locked\n'
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_another_process_is_excluded_until_it_is_killed(owner, tmp_path):
    path = tmp_path / 'lock'
    assert is_locked(path)
    with pytest.raises(
        Locked, match=rf'the study is being worked on by process {owner.pid} on \S+ since \d+-'
    ):
        Lock(path, 'the study').__enter__()
    assert is_locked(path)  # still: the attempt has not taken it away
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert not is_locked(path)
    with Lock(path, 'the study'):
        assert path.read_text().startswith(f'process {os.getpid()} on ')


def test_a_file_that_nobody_locked(tmp_path):
    assert not is_locked(tmp_path / 'none')
    with Lock(tmp_path / 'lock', 'it'):
        pass
    assert not is_locked(tmp_path / 'lock')


@pytest.mark.parametrize('stubborn', [False, True])
def test_the_owner_is_ended(owner, tmp_path, stubborn):
    if stubborn:
        os.kill(owner.pid, signal.SIGSTOP)  # SIGTERM would wait until it goes on
    end_owner(tmp_path / 'lock', seconds=0.5)
    assert owner.wait(10) < 0
    assert not is_locked(tmp_path / 'lock')
    end_owner(tmp_path / 'lock')  # of nobody


def test_the_owner_on_another_machine_is_left_alone(owner, tmp_path, monkeypatch):
    monkeypatch.setattr('socket.gethostname', lambda: 'another')
    end_owner(tmp_path / 'lock', seconds=0.0)
    assert owner.poll() is None and is_locked(tmp_path / 'lock')
