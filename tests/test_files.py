"""Files are whole or absent."""

import os
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from mmattn.files import PART, DiskFull, remove_parts, write_file


@pytest.mark.parametrize('content', [b'new', 'new', lambda file: file.write(b'new')])
def test_all_of_it_is_written(tmp_path, content):
    path = tmp_path / 'a'
    path.write_bytes(b'old and longer')
    path.chmod(0o640)
    write_file(path, content)
    assert path.read_bytes() == b'new' and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ['a']


def test_a_file_is_not_replaced_unasked(tmp_path):
    write_file(tmp_path / 'a', 'old', overwrite=False)
    with pytest.raises(FileExistsError, match=r"'.*/a' exists already: name another file"):
        write_file(tmp_path / 'a', 'new', overwrite=False)
    assert (tmp_path / 'a').read_text() == 'old'


def test_what_fails_halfway_leaves_the_old_file(tmp_path):
    def write(file):
        file.write(b'half')
        raise ValueError('it broke')

    write_file(tmp_path / 'a', 'old')
    with pytest.raises(ValueError, match='it broke'):
        write_file(tmp_path / 'a', write)
    assert (tmp_path / 'a').read_text() == 'old' and os.listdir(tmp_path) == ['a']


def test_a_link_is_followed_and_a_device_written_to(tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'file')
    write_file(tmp_path / 'link', 'new')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'file').read_text() == 'new'
    write_file('/dev/null', 'new')
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode)


def test_a_killed_writer_leaves_the_old_file_and_a_part_that_is_removed(tmp_path):
    write_file(tmp_path / 'a', 'old')
    code = f"""
import os, signal
from mmattn.files import write_file
def write(file):
    file.write(b'half')
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
write_file({str(tmp_path / 'a')!r}, write)
"""
    assert subprocess.run([sys.executable, '-c', code]).returncode == -signal.SIGKILL
    (part,) = (name for name in os.listdir(tmp_path) if name != 'a')
    assert (tmp_path / part).read_text() == 'half' and part.endswith(PART)
    alive = tmp_path / f'b.{os.getpid()}{PART}'
    alive.touch()
    assert remove_parts(tmp_path) == [part]
    assert sorted(os.listdir(tmp_path)) == ['a', alive.name] and (tmp_path / 'a').read_text() == 'old'


IN_A_SMALL_DISK = 'mount -t tmpfs -o size={size} tmpfs {folder} && exec "$@"'


def on_a_small_disk(folder, size, command, **options):
    """Run a command that sees ``folder`` as a disk of its own; skip where namespaces are not allowed."""
    unshare = shutil.which('unshare')
    if unshare is None:
        pytest.skip('no unshare here: no disk of a limited size can be made')
    script = IN_A_SMALL_DISK.format(size=size, folder=folder)
    probe = [unshare, '-rm', 'sh', '-c', script, 'sh']
    found = subprocess.run([*probe, 'true'], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f'no disk of a limited size can be made here: {found.stderr.strip()}')
    return subprocess.run([*probe, *command], capture_output=True, text=True, **options)


def test_a_full_disk_is_reported_and_the_old_file_stays(tmp_path):
    code = f"""
import os, io, torch
from mmattn.files import DiskFull, write_file
path = {str(tmp_path / 'a')!r}
write_file(path, 'old')
for content in (bytes(2**21), lambda file: torch.save(torch.ones(2**19), file)):
    try:
        write_file(path, content)
    except DiskFull as error:
        print(error)
    assert open(path).read() == 'old' and os.listdir({str(tmp_path)!r}) == ['a']
"""
    done = on_a_small_disk(tmp_path, '1m', [sys.executable, '-c', code])
    assert done.returncode == 0, done.stderr
    (line,) = set(done.stdout.splitlines())
    assert line == (
        f"the disk is full: '{tmp_path}/a' was not written; it takes more than the 1.0 MB free in "
        f'{tmp_path}. What was there before is as it was; free some space'
    )


def test_the_message_is_all_there_is():
    assert str(DiskFull(28, 'no space')) == 'no space'


def test_who_reads_the_file_meanwhile_reads_all_of_the_old_one(tmp_path):
    """The new file takes the place of the old one; the old one is not written over."""
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with open(path) as reader:
        write_file(path, 'new and longer')
        assert reader.read() == 'old'
    assert path.read_text() == 'new and longer'
