"""Writing the shapes data set: same bytes, never half a set, nothing of the user's replaced."""

import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from pycocotools.coco import COCO

from mmattn.datasets import ShapesSettings, make_shapes, shapes_files, shapes_settings
from mmattn.datasets.scenes import CLASSES
from mmattn.datasets.shapes_folder import PARTIAL_MARKER
from mmattn.datasets.shapes_settings import MARKER
from mmattn.engine import check_data

ROOT = Path(__file__).parents[2]
SMALL = ShapesSettings(train=5, val=3, size=96, seed=7)


def make(out, settings=SMALL, **kwargs):
    kwargs.setdefault('workers', 1)
    return make_shapes(out, settings, file=io.StringIO(), **kwargs)


def content(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def leftovers(out):
    return sorted(path.name for path in out.parent.iterdir() if path != out)


def test_same_settings_same_bytes_whoever_draws(tmp_path):
    make(tmp_path / 'one')
    make(tmp_path / 'two', workers=2)
    first = content(tmp_path / 'one')
    assert first == content(tmp_path / 'two')
    assert len(first) == 5 + 3 + 2 + 1
    make(tmp_path / 'other', ShapesSettings(train=5, val=3, size=96, seed=8))
    other = content(tmp_path / 'other')
    assert first.keys() == other.keys() and not set(first.values()) & set(other.values())
    assert leftovers(tmp_path / 'one') == ['other', 'two']


def test_more_images_begin_with_the_same_ones(tmp_path):
    make(tmp_path / 'one')
    make(tmp_path / 'more', ShapesSettings(train=6, val=3, size=96, seed=7))
    first, more = content(tmp_path / 'one'), content(tmp_path / 'more')
    assert all(more[name] == first[name] for name in first if name.startswith('images/'))


@pytest.mark.parametrize('split, first', [('train', 1), ('val', 1_000_001)])
def test_pycocotools_reads_it(tmp_path, capsys, split, first):
    make(tmp_path / 's')
    coco = COCO(str(tmp_path / 's/annotations' / f'{split}.json'))
    assert {'info', 'licenses', 'images', 'annotations', 'categories'} <= set(coco.dataset)
    assert coco.getImgIds() == list(range(first, first + getattr(SMALL, split)))
    assert len({category['name'] for category in coco.dataset['categories']}) == 6
    for image in coco.dataset['images']:
        assert (tmp_path / 's/images' / image['file_name']).is_file()
    for annotation in coco.dataset['annotations']:
        assert coco.annToMask(annotation).sum() > 0
        assert annotation['iscrowd'] == isinstance(annotation['segmentation'], dict)


def test_the_right_set_is_left_as_it_is(tmp_path):
    assert make(tmp_path / 's') is True
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 's').rglob('*')}
    assert make(tmp_path / 's') is False
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / 's').rglob('*')}


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / 's').mkdir()
    assert make(tmp_path / 's') is True


@pytest.mark.parametrize('force', [False, True])
def test_something_else_is_never_replaced(tmp_path, force):
    (tmp_path / 's').mkdir()
    (tmp_path / 's/thesis.tex').write_text('years of work')
    with pytest.raises(
        FileExistsError,
        match=re.escape(
            f"'{tmp_path}/s' exists and is not a shapes data set (it has no {MARKER}), so it is "
            'left alone; give another folder, or remove it yourself'
        ),
    ):
        make(tmp_path / 's', force=force)
    (tmp_path / 'file').write_text('a file')
    with pytest.raises(FileExistsError, match='is not a shapes data set'):
        make(tmp_path / 'file', force=force)
    assert (tmp_path / 's/thesis.tex').read_text() == 'years of work'
    assert (tmp_path / 'file').read_text() == 'a file'


def test_other_settings_need_force(tmp_path):
    make(tmp_path / 's')
    other = ShapesSettings(train=2, val=3, size=96, seed=7)
    with pytest.raises(
        FileExistsError,
        match='holds a shapes data set made with version=1 train=5 val=3 size=96 seed=7, '
        'but you ask for version=1 train=2 val=3 size=96 seed=7; give another folder, '
        'or replace it with tools/make_shapes.py --force',
    ):
        make(tmp_path / 's', other)
    assert make(tmp_path / 's', other, force=True) is True
    assert len(content(tmp_path / 's')) == 2 + 3 + 2 + 1
    assert leftovers(tmp_path / 's') == []


def test_a_set_of_another_version_needs_force(tmp_path, monkeypatch):
    make(tmp_path / 's')
    monkeypatch.setattr(shapes_settings, 'VERSION', 2)
    with pytest.raises(FileExistsError, match='made with version=1 .* but you ask for version=2 '):
        make(tmp_path / 's')
    assert make(tmp_path / 's', force=True) is True


@pytest.mark.parametrize(
    'harm, message',
    [
        (
            lambda root: (root / 'images/train/000002.png').unlink(),
            '1 of images/train are missing, such as 000002.png',
        ),
        (lambda root: (root / 'annotations/val.json').unlink(), 'annotations/val.json is missing'),
        (
            lambda root: (root / 'annotations/train.json').write_text('{}'),
            'annotations/train.json was changed',
        ),
    ],
)
def test_damage_is_found(tmp_path, harm, message):
    make(tmp_path / 's')
    whole = content(tmp_path / 's')
    harm(tmp_path / 's')
    with pytest.raises(
        FileExistsError, match=f'is damaged: {message}; replace it with tools/make_shapes.py --force'
    ):
        make(tmp_path / 's')
    make(tmp_path / 's', force=True)
    assert content(tmp_path / 's') == whole


@pytest.mark.parametrize('old', [False, True])
def test_an_error_leaves_what_was_there(tmp_path, monkeypatch, old):
    if old:
        make(tmp_path / 's', ShapesSettings(train=1, val=1, size=96))
        before = content(tmp_path / 's')

    def fail(folder, settings, task):
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes_files, '_draw_one', fail)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / 's', force=True)
    assert leftovers(tmp_path / 's') == []
    if old:
        assert content(tmp_path / 's') == before
    else:
        assert not (tmp_path / 's').exists()


@pytest.mark.parametrize('stop_signal', [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_no_set_and_the_next_one_succeeds(tmp_path, stop_signal):
    out = tmp_path / 's'
    command = [
        sys.executable,
        ROOT / 'tools/make_shapes.py',
        '--out',
        out,
        '--train',
        '5000',
        '--workers',
        '1',
    ]
    # SIGINT as at a terminal: what a shell starts with & ignores it, and hands that down.
    process = subprocess.Popen(
        command,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    partial = tmp_path / 's.partial'
    deadline = time.monotonic() + 60
    while not list(partial.glob('images/train/*.png')):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(FileExistsError, match=f'process {process.pid} on .* is writing'):
        make(out)
    process.send_signal(stop_signal)
    process.wait(timeout=60)
    assert not out.exists()
    assert partial.exists() == (stop_signal == signal.SIGKILL)
    assert make(out) is True
    assert leftovers(out) == []


def test_a_foreign_folder_in_the_way_is_left_alone(tmp_path):
    (tmp_path / 's.partial').mkdir()
    (tmp_path / 's.partial/mine').write_text('')
    with pytest.raises(FileExistsError, match='but this tool did not make it; move it away'):
        make(tmp_path / 's')
    assert (tmp_path / 's.partial/mine').exists()


OTHER = ShapesSettings(train=1, val=1, size=96)


def dead_owner():
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return json.dumps(dict(pid=process.pid, host=socket.gethostname()))


def claim(folder, marker):
    folder.mkdir(exist_ok=True)
    (folder / PARTIAL_MARKER).write_text(marker)


@pytest.mark.parametrize(
    'leave',
    [
        lambda partial: partial.mkdir(),  # before the marker was made
        lambda partial: claim(partial, ''),  # before it was written
        lambda partial: claim(partial, dead_owner()),
        lambda partial: (make(partial, OTHER), claim(partial, dead_owner())),  # before the swap
        lambda partial: make(partial, OTHER),  # whole, and without the marker
    ],
)
def test_what_a_killed_run_left_is_written_over(tmp_path, leave):
    leave(tmp_path / 's.partial')
    assert make(tmp_path / 's') is True
    assert leftovers(tmp_path / 's') == []
    assert len(content(tmp_path / 's')) == 5 + 3 + 2 + 1


@pytest.mark.parametrize('empty', [False, True])
def test_a_run_killed_between_the_renames_loses_nothing(tmp_path, empty):
    make(tmp_path / 's')
    old = content(tmp_path / 's')
    (tmp_path / 's').rename(tmp_path / 's.replaced')
    make(tmp_path / 's.partial', OTHER)
    claim(tmp_path / 's.partial', dead_owner())
    if empty:
        (tmp_path / 's').mkdir()
    assert make(tmp_path / 's') is False
    assert content(tmp_path / 's') == old
    assert make(tmp_path / 's', OTHER, force=True) is True
    assert leftovers(tmp_path / 's') == []


def test_the_swap_of_a_living_process_is_left_alone(tmp_path):
    make(tmp_path / 's.replaced')
    living = dict(pid=os.getppid(), host=socket.gethostname())
    claim(tmp_path / 's.partial', json.dumps(living))
    with pytest.raises(FileExistsError, match=f'process {os.getppid()} on .* is writing'):
        make(tmp_path / 's')
    assert leftovers(tmp_path / 's') == ['s.partial', 's.replaced']


def test_interrupted_between_the_renames_puts_the_old_set_back(tmp_path, monkeypatch):
    make(tmp_path / 's')
    old = content(tmp_path / 's')
    rename = Path.rename

    def interrupted(path, target):
        if path.name == 's.partial':
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, 'rename', interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / 's', OTHER, force=True)
    assert content(tmp_path / 's') == old
    assert leftovers(tmp_path / 's') == []


@pytest.mark.parametrize('left', [[], [MARKER]])
def test_a_run_killed_after_the_renames_is_mended(tmp_path, left):
    make(tmp_path / 's')
    new = content(tmp_path / 's')
    claim(tmp_path / 's', dead_owner())
    (tmp_path / 's.replaced').mkdir()  # of which the rest has been removed
    for name in left:
        (tmp_path / 's.replaced' / name).write_text('{}')
    assert make(tmp_path / 's') is False
    assert content(tmp_path / 's') == new
    assert make(tmp_path / 's', OTHER, force=True) is True
    assert leftovers(tmp_path / 's') == []


@pytest.mark.parametrize(
    'name, value, least',
    [('train', 0, 1), ('val', -1, 1), ('size', 32, 64), ('seed', -1, 0), ('size', 128.5, 64)],
)
def test_settings_are_checked(name, value, least):
    with pytest.raises(
        ValueError,
        match=re.escape(f'{name}={value!r} of the shapes data set: give a whole number from {least} to'),
    ):
        ShapesSettings(**{name: value})


def test_progress_is_shown(tmp_path):
    shown = io.StringIO()
    make_shapes(tmp_path / 's', ShapesSettings(train=2, val=1, size=64), workers=1, file=shown)
    assert '3/3' in shown.getvalue()


LITTLE = ('--train', 1, '--val', 1, '--size', 64, '--workers', 1)


def test_tool_says_what_it_did(tmp_path, run_tool):
    def run(*args):
        return run_tool('make_shapes.py', *LITTLE, '--train', 2, '--out', tmp_path / 's', *args)

    first = run()
    assert first.code == 0 and first.out.endswith(f'shapes: {tmp_path}/s written\n')
    assert run().out == f'shapes: {tmp_path}/s is already there with these settings\n'
    refused = run('--seed', '5')
    assert refused.code == 2 and refused.err.startswith('make_shapes.py: ')
    assert 'Traceback' not in refused.err
    marker = json.loads((tmp_path / 's' / MARKER).read_text())
    assert marker['settings'] == dict(train=2, val=1, size=64, seed=0)


@pytest.mark.parametrize('root', ['', 'elsewhere'])
def test_tool_writes_where_the_configs_look(tmp_path, root, run_tool, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MMATTN_DATA_ROOT', root)
    assert run_tool('make_shapes.py', *LITTLE).code == 0
    assert (tmp_path / (root or 'data/shapes') / MARKER).is_file()


@pytest.mark.parametrize('root', ['elsewhere', 'elsewhere/', None])
def test_the_config_has_the_classes_and_finds_the_root(root, monkeypatch, tmp_path):
    if root is None:
        monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)
    else:
        monkeypatch.setenv('MMATTN_DATA_ROOT', root)
    config = Config.fromfile(ROOT / 'configs/_base_/datasets/shapes_detection.py')
    expected = 'data/shapes' if root is None else 'elsewhere'
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        assert tuple(loader.dataset.metainfo.classes) == CLASSES
        assert loader.dataset.data_root == f'{expected}/'
    assert config.val_evaluator.ann_file == f'{expected}/annotations/val.json'
    assert config.val_evaluator.proposal_nums == (1, 10, 100)
    with pytest.raises(
        FileNotFoundError,
        match=(
            rf"no annotation file '{expected}/annotations/train.json' .*\. Write it with `python "
            f'tools/make_shapes.py --out {expected}/`. Set the data root'
        ),
    ):
        monkeypatch.chdir(tmp_path)
        check_data(config)
