"""Rules about image files: they exist, can be decoded, and have the size that the annotation file says."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mmattn.datasets.image_header import ImageHeader, describe_file, read_headers
from mmattn.engine.data.examination import Examination
from mmattn.engine.data.file_names import find_files
from mmattn.engine.data.findings import REFUSE, REPAIR, SEE, TELL, Finding, some
from mmattn.engine.data.image_loader import ImageLoader
from mmattn.engine.data.sources import HOW

SAMPLE = 5000
"""At most this many images of a data set are checked, evenly spread."""
_CONFIRM = 50
"""So many sizes that do not fit are confirmed by decoding the image; the headers of others are believed."""
_THREADS = 8
_In, _Out = TypeVar('_In'), TypeVar('_Out')


def files_are_found(data: Examination) -> Iterator[Finding]:
    """File names that the folder spells in another way are put right; missing and empty files are refused.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    folder = data.source.folder
    if folder is None:
        return
    if not os.path.isdir(folder):
        where = f'{data.source.where}.data_prefix.img'
        raise FileNotFoundError(f"no image folder '{folder}' ({where}). {HOW.format(where)}")
    sample = _sample(data)
    sizes = dict(zip((_name(image) for image in sample), _map(_file_size, [_path(data, i) for i in sample])))
    if None in sizes.values():
        yield from _other_names(data, sizes)
        sample = _sample(data)
        sizes = {name: size for name, size in sizes.items() if size is not None}
        new = [image for image in sample if _name(image) not in sizes]
        sizes.update(zip((_name(image) for image in new), _map(_file_size, [_path(data, i) for i in new])))
    checked = f'of {len(sample)} checked'
    missing = [name for name in map(_name, sample) if sizes[name] is None]
    empty = [name for name in map(_name, sample) if sizes[name] == 0]
    if missing and not _drop(data, missing, 'missing'):
        yield Finding(
            REFUSE,
            f"{len(missing)} {checked} images that it names are not in '{folder}'",
            missing,
            f'Complete the folder, or set {data.source.where}.data_prefix.img to the one that has them'
            f'{_elsewhere(data, missing)}. --drop-bad-images leaves them out',
        )
    if empty and not _drop(data, empty, 'an empty file'):
        yield Finding(
            REFUSE,
            f"{len(empty)} {checked} images in '{folder}' are empty files",
            empty,
            'Copy them again, or take them out of the annotation file. --drop-bad-images leaves them out',
        )


def _other_names(data: Examination, sizes: dict[str, int | None]) -> Iterator[Finding]:
    names = [_name(image) for image in data.images]
    unknown = [name for name in dict.fromkeys(names) if sizes.get(name, 0) is None or name not in sizes]
    there = dict(zip(unknown, _map(_file_size, [os.path.join(data.source.folder, name) for name in unknown])))
    lost = [name for name in unknown if there[name] is None]
    found = find_files(lost, data.source.folder, set(names) - set(lost))
    for image in data.images:
        image['file_name'] = found.get(_name(image), image['file_name'])
    if found:
        yield Finding(
            REPAIR,
            f'{len(found)} of {len(names)} images are named in another way than their files',
            [f"'{name}' is '{file}'" for name, file in found.items()],
        )


def _elsewhere(data: Examination, missing: Sequence[str]) -> str:
    """Say where under the data root a missing image lies, if it does."""
    root = data.source.root
    base = os.path.basename(missing[0].replace('\\', '/'))
    for where, folders, files in os.walk(root) if root else ():
        if base in files:
            return f" ({base} is in '{os.path.join(where, '')}')"
        if os.path.relpath(where, root).count(os.sep) >= 2 or len(folders) > 100:
            folders.clear()
    return ''


def sizes_are_those_of_the_images(data: Examination) -> Iterator[Finding]:
    """Widths and heights are those that the images have as the pipeline decodes them."""
    loader = data.source.loader
    if data.source.folder is None:
        return
    unsized = [image for image in data.images if not image.get('width') or not image.get('height')]
    if loader is None:
        if unsized:
            yield Finding(
                REFUSE,
                f'{len(unsized)} of {len(data.images)} images have no width and height',
                [_name(image) for image in unsized],
                'Write them: no LoadImageFromFile in the pipeline says how the images are decoded',
            )
        return
    sample = _sample(data) if data.open_images else []
    opened = {id(image): image for image in (*sample, *unsized)}
    headers = dict(zip(opened, read_headers([_path(data, image) for image in opened.values()])))
    data.images_opened = len(opened)
    data.modes = dict(Counter(header.mode for header in headers.values() if header))
    sizes = {key: header and loader.expected_size(header) for key, header in headers.items()}
    doubted = [
        key
        for key, image in opened.items()
        if image.get('width') and sizes[key] != (image['width'], image['height'])
    ]
    unknown = [key for key, header in headers.items() if header is None]
    rare = [key for key, header in headers.items() if header and not header.is_common]
    confirmed = list({*doubted[:_CONFIRM], *rare[:_CONFIRM], *unknown})
    if data.drop_bad_images:
        confirmed = list(opened)
    sizes.update(zip(confirmed, _map(loader.decoded_size, [_path(data, opened[key]) for key in confirmed])))
    yield from _fill_in(data, [image for image in unsized if sizes[id(image)] is not None], sizes)
    yield from _undecodable(data, [image for key, image in opened.items() if sizes[key] is None])
    other = [
        image for key, image in opened.items()
        if sizes[key] is not None and sizes[key] != (image['width'], image['height'])
    ]  # fmt: skip
    if other:
        yield from _other_sizes(data, other, sizes, headers, loader)
    known = [(image, headers[key]) for key, image in opened.items() if headers[key]]
    yield from _turned_unseen(data, known, {id(image) for image in unsized})
    deep = [_name(image) for image, header in known if header.mode[:1] in 'IF']
    if deep:
        yield Finding(
            TELL, f'{len(deep)} images have more than 8 bits per channel, of which 8 are read', deep, SEE
        )
    series = [_name(image) for image, header in known if header.frames > 1]
    if series:
        yield Finding(TELL, f'{len(series)} images have several frames or pages: the first is read', series)


def _fill_in(data: Examination, unsized: Sequence[dict], sizes: dict[int, Any]) -> Iterator[Finding]:
    for image in unsized:
        image['width'], image['height'] = map(int, sizes[id(image)])
    if unsized:
        yield Finding(
            REPAIR,
            f'{len(unsized)} of {len(data.images)} images have no usable width and height: they are read '
            'from the image files',
        )


def _undecodable(data: Examination, images: Sequence[dict]) -> Iterator[Finding]:
    names = []
    for image in images:
        names.append(f'{_name(image)} ({_what(_path(data, image))})')
    if images and not _drop(data, [_name(image) for image in images], 'cannot be decoded'):
        yield Finding(
            REFUSE,
            f'{len(images)} of {data.images_opened} checked images cannot be decoded',
            names,
            'Copy or convert them again, or take them out of the annotation file. --drop-bad-images leaves '
            'them out',
        )


def _what(path: str) -> str:
    try:
        with open(path, 'rb') as file:
            return describe_file(file.read(64))
    except OSError as error:
        return f'it cannot be read: {error.strerror}'


def _other_sizes(
    data: Examination,
    images: Sequence[dict],
    sizes: dict[int, tuple[int, int]],
    headers: dict[int, ImageHeader | None],
    loader: ImageLoader,
) -> Iterator[Finding]:
    names, exif, swapped = [], 0, 0
    for image in images:
        (width, height), header = sizes[id(image)], headers[id(image)]
        given = f'{image["width"]}x{image["height"]}'
        text = f'{_name(image)} is {width}x{height} when loaded and {given} in the file'
        transposed = (height, width) == (image['width'], image['height'])
        if transposed and header and header.is_quarter_turned:
            exif += 1
            text += f' (its EXIF orientation is {header.orientation})'
        elif transposed:
            swapped += 1
        names.append(text)
    if _drop(data, [_name(image) for image in images], 'of another size than in the annotation file'):
        return
    yield Finding(
        REFUSE,
        f'{len(images)} of {data.images_opened} checked images have another size (width x height) than the '
        'annotation file says',
        names,
        _remedy(exif, swapped, len(images), loader),
    )


def _remedy(exif: int, swapped: int, count: int, loader: ImageLoader) -> str:
    if exif:
        color_type = 'color_ignore_orientation' if loader.turns else 'color'
        return (
            f'EXIF turns {"all" if exif == count else exif} of them by 90 degrees, and MMDetection '
            f'{"does so" if loader.turns else "does not"} on loading: if the boxes were drawn on images that '
            f'were {"not turned" if loader.turns else "turned"}, set {loader.where}.color_type={color_type} '
            'here and in the other pipelines (--cfg-options), or turn the image files for good and annotate '
            'them as they are then'
        )
    if swapped == count:
        return 'Width and height look swapped: write the width first'
    return (
        'Boxes are in pixels of the image that was annotated: use these images, or scale boxes and sizes to '
        'the ones that are here. --drop-bad-images leaves them out'
    )


def _turned_unseen(
    data: Examination, images: Sequence[tuple[dict, ImageHeader]], unsized: set[int]
) -> Iterator[Finding]:
    """Tell of images that EXIF turns or mirrors while their size does not show it, or was not given."""
    for image, header in images:
        shown = header.is_quarter_turned and header.width != header.height and id(image) not in unsized
        if header.orientation != 1 and not shown:
            data.turned.append(_name(image))
    if data.turned:
        does = 'does' if data.source.loader.turns else 'does not'
        yield Finding(
            TELL,
            f'{len(data.turned)} of {data.images_opened} checked images have an EXIF orientation that their '
            'size does not show (by 180 degrees, mirrored, square, or no size was given), and MMDetection '
            f'{does} turn them on loading',
            data.turned,
            SEE,
        )


def _drop(data: Examination, names: Sequence[str], reason: str) -> bool:
    """Leave images out if the user asked for it; return whether they are."""
    if not data.drop_bad_images:
        return False
    gone = set(names)
    left = [image for image in data.images if _name(image) not in gone]
    if not left:
        return False
    data.images[:] = left
    data.dropped.extend((name, reason) for name in dict.fromkeys(names))
    data.findings.append(
        Finding(REPAIR, f'{len(gone)} images are left out (--drop-bad-images): {reason}: {some(names)}')
    )
    return True


def _sample(data: Examination) -> list[dict]:
    step = 1 if data.drop_bad_images else max(1, -(-len(data.images) // SAMPLE))
    return data.images[::step]


def _name(image: dict) -> str:
    return str(image['file_name'])


def _path(data: Examination, image: dict) -> str:
    return os.path.join(data.source.folder, _name(image))


def _file_size(path: str) -> int | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _map(function: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, items))
