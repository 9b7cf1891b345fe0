"""The generated data set "shapes": COCO format, the same bytes for the same settings, no network.

Layout, as for any COCO-format folder::

    shapes/
      images/train/000001.png ...   images/val/000001.png ...
      annotations/train.json        annotations/val.json
      shapes.json                   what made it; its presence says that the set is whole
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import ProgressBar

from mmattn.datasets.scenes import CLASSES, area_limits, make_scene

# Raise it whenever the same settings would give other pixels or annotations.
VERSION = 1
MARKER = 'shapes.json'
_PARTIAL_MARKER = '.mmattn-shapes-partial.json'
# Ids stay apart when the splits are merged.
_FIRST_ID = dict(train=1, val=1_000_001)


@dataclass(frozen=True)
class ShapesSettings:
    """What decides the data set, down to the last byte.

    Args:
        train, val (int): Number of images.
        size (int): Width and height of the images. At 256, objects are small, medium or large by
            COCO's own limits (areas of 32 ** 2 and 96 ** 2); otherwise objects and limits scale.
        seed (int): Another seed gives other images.
    """

    train: int = 1200
    val: int = 200
    size: int = 256
    seed: int = 0

    def __post_init__(self):
        for name, least, most in (
            ('train', 1, 999_999),
            ('val', 1, 999_999),
            ('size', 64, 4096),
            ('seed', 0, 2**63),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not least <= value <= most:
                raise ValueError(
                    f'{name}={value!r} of the shapes data set: give a whole number from {least} to {most}'
                )


def make_shapes(out, settings=ShapesSettings(), force=False, workers=None, file=None):
    """Write the data set to a folder, or find that it is already there.

    It is written beside ``out`` and renamed at the end, so ``out`` is never half a data set.

    Args:
        out (str | Path): The folder. It may be absent or empty.
        settings (ShapesSettings): What to draw.
        force (bool): Replace a shapes data set that has other settings or is damaged. Anything
            else in ``out`` is never replaced.
        workers (int, optional): Processes that draw; by default one a processor, four at most.
            Changes nothing in the result.
        file (optional): Where the progress bar goes; standard output by default.

    Returns:
        bool: True when the data set was written, False when it was there already.
    """
    out = Path(os.path.abspath(out))
    _put_back(out)
    needed = _needs_writing(out, settings, force)
    if needed:
        partial_folder = _claim_partial(out)
        try:
            _write(partial_folder, settings, workers, file)
            _swap(partial_folder, out)
        except BaseException:  # also Ctrl-C: leave nothing behind that could look whole
            with contextlib.suppress(OSError):
                _remove(partial_folder)
            _put_back(out)
            raise
    # only now, so that a run killed in the swap leaves a partial folder that is known as ours
    if (out / _PARTIAL_MARKER).exists():
        (out / _PARTIAL_MARKER).unlink(missing_ok=True)
    return needed


def read_marker(folder):
    """What made the shapes data set in a folder; None if there is none."""
    try:
        marker = json.loads((Path(folder) / MARKER).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}
    return marker if isinstance(marker, dict) else {}


def _needs_writing(out, settings, force):
    if not out.exists() or _is_empty(out):
        return True
    marker = read_marker(out)
    if marker is None:
        raise FileExistsError(
            f"'{out}' exists and is not a shapes data set (it has no {MARKER}), so it is left "
            'alone; give another folder, or remove it yourself'
        )
    wanted = dict(version=VERSION, settings=asdict(settings))
    found = {key: marker.get(key) for key in wanted}
    if found == wanted:
        damage = _damage(out, settings, marker)
        if damage is None:
            return False
        if not force:
            raise FileExistsError(
                f"the shapes data set in '{out}' is damaged: {damage}; "
                'write it anew with tools/make_shapes.py --force'
            )
    elif not force:
        raise FileExistsError(
            f"'{out}' has a shapes data set made with {_in_words(found)}; asked "
            f'for was {_in_words(wanted)}; give another folder, or replace it '
            'with tools/make_shapes.py --force'
        )
    return True


def _in_words(made_with):
    settings = made_with['settings'] or {}
    return ' '.join(
        [f'version={made_with["version"]}'] + [f'{key}={value}' for key, value in settings.items()]
    )


def _damage(out, settings, marker):
    """What is wrong with a data set whose marker is right, in words; None if nothing is."""
    for split in _FIRST_ID:
        path = out / 'annotations' / f'{split}.json'
        if not path.is_file():
            return f'annotations/{split}.json is missing'
        if _digest(path.read_bytes()) != (marker.get('sha256') or {}).get(split):
            return f'annotations/{split}.json was changed'
        wanted = {f'{number:06d}.png' for number in range(1, getattr(settings, split) + 1)}
        folder = out / 'images' / split
        missing = wanted - set(os.listdir(folder) if folder.is_dir() else ())
        if missing:
            return f'{len(missing)} of images/{split} are missing, such as {min(missing)}'
    return None


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def _partial(out):
    return out.with_name(out.name + '.partial')


def _is_empty(folder):
    return folder.is_dir() and not any(folder.iterdir())


def _remove(folder):
    """Remove a folder of ours, its markers last: if this is killed, the rest is still ours."""
    last = {MARKER: 1, _PARTIAL_MARKER: 2}
    for path in sorted(folder.iterdir(), key=lambda path: last.get(path.name, 0)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    folder.rmdir()


def _put_back(out):
    """Undo a swap that was killed after the old data set gave up its name."""
    retired = out.with_name(out.name + '.replaced')
    if (not out.exists() or _is_empty(out)) and read_marker(retired) is not None:
        _check_no_writer(_partial(out))
        if out.exists():
            out.rmdir()
        retired.rename(out)


def _check_no_writer(folder):
    """Raise if the process that claimed a partial folder is still at work."""
    try:
        owner = json.loads((folder / _PARTIAL_MARKER).read_text())
    except (OSError, ValueError):  # nobody's, or of one killed while writing this
        return
    if _is_running(owner):
        raise FileExistsError(
            f'process {owner["pid"]} on {owner["host"]} is writing '
            f"'{folder}'; wait for it, or remove that folder if it is dead"
        )


def _claim_partial(out):
    """A new folder beside ``out`` to write in; what an interrupted run left there is removed."""
    folder = _partial(out)
    _check_no_writer(folder)
    if folder.exists():
        # empty, or with one of our files: killed before or after it had the partial marker
        ours = (folder / _PARTIAL_MARKER).is_file() or {'version', 'settings'} <= (
            read_marker(folder) or {}
        ).keys()
        if not ours and not _is_empty(folder):
            raise FileExistsError(
                f"'{folder}' is needed to write in, and was not left by this tool; move it away"
            )
        _remove(folder)
    _retired(out)
    folder.mkdir(parents=True)
    owner = dict(pid=os.getpid(), host=socket.gethostname())
    (folder / _PARTIAL_MARKER).write_text(json.dumps(owner))
    return folder


def _is_running(owner):
    if owner['host'] != socket.gethostname():
        return True  # cannot be known from here
    try:
        os.kill(owner['pid'], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return owner['pid'] != os.getpid()


def _retired(out):
    """Where the old data set waits while the new one takes its name; empty after the call."""
    folder = out.with_name(out.name + '.replaced')
    if folder.exists():
        if read_marker(folder) is None and not _is_empty(folder):
            raise FileExistsError(f"'{folder}' is in the way and not a shapes data set; move it away")
        _remove(folder)
    return folder


def _swap(new, out):
    if out.exists():
        retired = _retired(out)
        out.rename(retired)
        new.rename(out)
        _remove(retired)
    else:
        new.rename(out)


def _write(folder, settings, workers, file):
    (folder / 'annotations').mkdir()
    tasks = []
    for split in _FIRST_ID:
        (folder / 'images' / split).mkdir(parents=True)
        tasks += [(split, number) for number in range(1, getattr(settings, split) + 1)]
    bar = ProgressBar(len(tasks), **({} if file is None else dict(file=file)))
    found = dict(train=[], val=[])
    step = max(1, len(tasks) // 50)  # a log file gets one long line of all updates
    for done, instances in enumerate(_drawn(folder, settings, tasks, workers), start=1):
        found[tasks[done - 1][0]].append(instances)
        if done % step == 0 or done == len(tasks):
            bar.update(done - bar.completed)
    bar.file.write('\n')
    digests = {}
    for split, images in found.items():
        data = json.dumps(_coco(split, images, settings), separators=(',', ':')).encode()
        (folder / 'annotations' / f'{split}.json').write_bytes(data)
        digests[split] = _digest(data)
    marker = dict(
        version=VERSION, settings=asdict(settings), sha256=digests, area_limits=area_limits(settings.size)
    )
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + '\n')


def _drawn(folder, settings, tasks, workers):
    draw = partial(_draw_one, folder, settings)
    workers = min(4, os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ValueError(f'workers={workers}: give at least 1')
    if workers == 1:
        yield from map(draw, tasks)
        return
    # spawn: torch or a data loader may have started threads here, which fork does not survive;
    # one OpenCV thread each, as the processes share the processors already
    with get_context('spawn').Pool(workers, cv2.setNumThreads, (1,)) as pool:
        yield from pool.imap(draw, tasks, chunksize=8)


def _draw_one(folder, settings, task):
    split, number = task
    # one stream of chance for each image, so it does not matter who draws it, or when
    rng = np.random.default_rng([settings.seed, _FIRST_ID[split], number])
    image, instances = make_scene(rng, settings.size)
    path = folder / 'images' / split / f'{number:06d}.png'
    done, data = cv2.imencode('.png', image[:, :, ::-1])
    if not done:
        raise OSError(f'OpenCV could not encode {path}')
    path.write_bytes(data.tobytes())
    return instances


def _coco(split, drawn, settings):
    images, annotations = [], []
    for index, instances in enumerate(drawn):
        image_id = _FIRST_ID[split] + index
        images.append(
            dict(
                id=image_id,
                file_name=f'{split}/{index + 1:06d}.png',
                width=settings.size,
                height=settings.size,
                license=1,
            )
        )
        for instance in instances:
            label = instance.pop('label')
            annotations.append(
                dict(
                    id=_FIRST_ID[split] + len(annotations),
                    image_id=image_id,
                    category_id=label + 1,
                    **instance,
                )
            )
    return dict(
        info=dict(
            description='Generated shapes: a class is a texture on a shape',
            version=str(VERSION),
            contributor='mmattn',
            split=split,
            **asdict(settings),
        ),
        licenses=[dict(id=1, name='Apache License 2.0', url='https://www.apache.org/licenses/LICENSE-2.0')],
        images=images,
        annotations=annotations,
        categories=[
            dict(id=index + 1, name=name, supercategory=name.split()[1]) for index, name in enumerate(CLASSES)
        ],
    )
