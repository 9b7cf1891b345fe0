"""Mutated annotation files: other values, other JSON, other encodings, cut off, with bits flipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.test_fuzz.arena import Arena, Done, metrics_of_test, trained
from tests.test_fuzz.case import EITHER, REFUSED, SAME, Case

NAN, INF = float('nan'), float('inf')
PARTS = ('train', 'val')


def every(key: str, change: Callable[[dict], Any]) -> Callable[[dict], None]:
    """Change all entries of a list."""

    def apply(whole: dict) -> None:
        for entry in whole[key]:
            change(entry)

    return apply


def field(key: str, name: str, change: Callable[[Any], Any]) -> Callable[[dict], None]:
    """Change a field of all entries."""
    return every(key, lambda entry: entry.update({name: change(entry[name])}))


def without(key: str, name: str) -> Callable[[dict], None]:
    return every(key, lambda entry: entry.pop(name))


def ids(change: Callable[[int], Any]) -> Callable[[dict], None]:
    """Change the ids of images wherever they stand."""

    def apply(whole: dict) -> None:
        field('images', 'id', change)(whole)
        field('annotations', 'image_id', change)(whole)

    return apply


def category_ids(change: Callable[[int], Any]) -> Callable[[dict], None]:
    def apply(whole: dict) -> None:
        field('categories', 'id', change)(whole)
        field('annotations', 'category_id', change)(whole)

    return apply


def both(*changes: Callable[[dict], None]) -> Callable[[dict], None]:
    def apply(whole: dict) -> None:
        for change in changes:
            change(whole)

    return apply


def polygons(whole: dict) -> None:
    for annotation in whole['annotations']:
        x, y, w, h = annotation.pop('bbox')
        annotation['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]


# What is read as it was meant: training and evaluation have the same bits as without the mutation.
READ_RIGHT: dict[str, Callable[[dict], None]] = {
    'no area': without('annotations', 'area'),
    'area 0': field('annotations', 'area', lambda v: 0),
    'area as text': field('annotations', 'area', str),
    'area null': field('annotations', 'area', lambda v: None),
    'no iscrowd': without('annotations', 'iscrowd'),
    'iscrowd as text': field('annotations', 'iscrowd', str),
    'iscrowd as a boolean': field('annotations', 'iscrowd', bool),
    'iscrowd null': field('annotations', 'iscrowd', lambda v: None),
    'boxes of text': field('annotations', 'bbox', lambda b: [str(v) for v in b]),
    'boxes of decimal text': field('annotations', 'bbox', lambda b: [f'{v}.0' for v in b]),
    'boxes as one text': field('annotations', 'bbox', str),
    'boxes of floats': field('annotations', 'bbox', lambda b: [float(v) for v in b]),
    'polygons instead of boxes': polygons,
    'no sizes': both(without('images', 'width'), without('images', 'height')),
    'sizes as text': both(field('images', 'width', str), field('images', 'height', str)),
    'sizes as floats': both(field('images', 'width', float), field('images', 'height', float)),
    'sizes null': both(field('images', 'width', lambda v: None), field('images', 'height', lambda v: None)),
    'sizes 0': field('images', 'width', lambda v: 0),
    'image ids as text': ids(str),
    'image ids with zeros': ids('{:012}'.format),
    'image ids as floats': ids(float),
    'image ids as text in annotations': field('annotations', 'image_id', str),
    'image ids from 0': ids(lambda v: v - 1),
    'large image ids': ids(lambda v: v + 2**40),
    'image ids of letters': ids('image {}'.format),
    'category ids as text': category_ids(str),
    'category ids as floats': field('annotations', 'category_id', float),
    'category ids from 0': category_ids(lambda v: v - 1),
    'large category ids': category_ids(lambda v: v * 1000),
    'no annotation ids': without('annotations', 'id'),
    'annotation ids from 0': field('annotations', 'id', lambda v: v - 1),
    'annotation ids as text': field('annotations', 'id', str),
    'one annotation id for all': field('annotations', 'id', lambda v: 7),
    'annotation ids null': field('annotations', 'id', lambda v: None),
    'categories reversed': lambda whole: whole['categories'].reverse(),
    'categories twice': lambda whole: whole['categories'].extend(list(whole['categories'])),
    'images twice': lambda whole: whole['images'].extend(list(whole['images'])),
    'annotations twice': lambda whole: whole['annotations'].extend(list(whole['annotations'])),
    'backslashes in names': field('images', 'file_name', 'images\\{}'.format),
    'Windows paths': field('images', 'file_name', 'C:\\data\\images\\{}'.format),
    'folder in names': field('images', 'file_name', 'images/{}'.format),
    'absolute names': field('images', 'file_name', '/mnt/data/images/{}'.format),
    'URLs': field('images', 'file_name', 'https://host.org/images/{}?x=1'.format),
    'names in capitals': field('images', 'file_name', str.upper),
    'names without suffix': field('images', 'file_name', lambda n: n.rpartition('.')[0]),
    'names with another suffix': field('images', 'file_name', lambda n: n.replace('.png', '.jpg')),
    'blanks around names': field('images', 'file_name', ' {} '.format),
    'more keys': lambda whole: whole.update(info=3, licenses='none', extra=[None]),
    'more fields': every('annotations', lambda a: a.update(score=None, attributes=dict(x=[1]), ignore=0)),
    'supercategory null': every('categories', lambda c: c.update(supercategory=None)),
    'segmentation empty': every('annotations', lambda a: a.update(segmentation=[])),
    'segmentation null': every('annotations', lambda a: a.update(segmentation=None)),
    'an unused category': lambda whole: whole['categories'].append(dict(id=99, name='unused')),
}  # fmt: skip

# What is refused, with words of the message.
REFUSALS: dict[str, tuple[Callable[[dict], None], tuple[str, ...]]] = {
    'two corners': (
        field('annotations', 'bbox', lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]),
        ('corners',),
    ),
    'corners, rows first': (
        field('annotations', 'bbox', lambda b: [b[1], b[0], b[1] + b[3], b[0] + b[2]]),
        ('corners',),
    ),
    'fractions': (field('annotations', 'bbox', lambda b: [v / 96 for v in b]), ('fractions',)),
    'centres as fractions': (
        field(
            'annotations',
            'bbox',
            lambda b: [(b[0] + b[2] / 2) / 96, (b[1] + b[3] / 2) / 96, b[2] / 96, b[3] / 96],
        ),
        ('fractions',),
    ),
    'no annotations': (lambda whole: whole['annotations'].clear(), ('no box', 'no annotations')),
    'no list of annotations': (lambda whole: whole.pop('annotations'), ('no box', 'no annotations')),
    'all crowds': (field('annotations', 'iscrowd', lambda v: 1), ('crowds',)),
    'all crowds as text': (field('annotations', 'iscrowd', lambda v: '1'), ('crowds',)),
    'all empty': (field('annotations', 'bbox', lambda b: [b[0], b[1], 0, 0]), ('no box', 'empty')),
    'all negative': (
        field('annotations', 'bbox', lambda b: [b[0], b[1], -b[2], -b[3]]),
        ('no box', 'negative'),
    ),
    'all under a pixel': (field('annotations', 'bbox', lambda b: [b[0], b[1], 0.3, 0.3]), ('pixel',)),
    'all outside': (field('annotations', 'bbox', lambda b: [900, 900, 20, 20]), ('leave',)),
    'image ids shifted': (field('annotations', 'image_id', lambda v: v - 1), ('image', 'count from')),
    'category ids shifted': (field('annotations', 'category_id', lambda v: v - 1), ('count from', 'categor')),
    'unknown images': (field('annotations', 'image_id', lambda v: v + 100), ('image',)),
    'unknown categories': (field('annotations', 'category_id', lambda v: v + 100), ('categor',)),
    'other classes': (field('categories', 'name', lambda n: n + ' square'), ('class', 'categor')),
    'classes in capitals': (field('categories', 'name', str.upper), ('case',)),
    'one image id for all': (lambda whole: ids(lambda v: 1)(whole), ('image',)),
    'one category id for all': (category_ids(lambda v: 1), ('categor',)),
    'names of no file': (field('images', 'file_name', 'nothing_{}'.format), ('nothing_', 'image')),
    'names that are numbers': (field('images', 'file_name', lambda n: 3), ('image',)),
    'names null': (field('images', 'file_name', lambda n: None), ('image', 'file_name')),
    'names empty': (field('images', 'file_name', lambda n: ''), ('image',)),
    'widths and heights swapped in part': (field('images', 'width', lambda v: v * 2), ('size',)),
    'sizes of others': (
        both(field('images', 'width', lambda v: 100), field('images', 'height', lambda v: 50)),
        ('size',),
    ),
}

# One value of one entry, and what becomes of it.
LISTS = ('images', 'categories', 'annotations')
ODD = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**70,
    10**400,
    NAN,
    INF,
    -INF,
    '',
    'x',
    '1',
    'NaN',
    [],
    [1],
    {},
    {'a': 1},
    [[1]],
]
FIELDS = {
    'images': ('id', 'file_name', 'width', 'height'),
    'categories': ('id', 'name', 'supercategory'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'segmentation', 'ignore'),
}
NOT_BOXES = [
    [1, 2, 3], [1, 2, 3, 4, 5], [], 'x', 3, {'x': 1}, [1, 2, NAN, 4], [INF, 2, 3, 4], ['a', 1, 2, 3],
        [None] * 4,
    [[1], 2, 3, 4], [1, 2, 3, 10**400], None, [1, 2, {}, 4], True, '[1, 2, 3]', 'nan nan nan nan',
]  # fmt: skip
FAR_BOXES = [
    [1, 2, 3, 1e300], [1e300] * 4, [-1e308, 0, 1e308, 9], [2**70, 1, 9, 9],
    [-(2**40), -(2**40), 2**41, 2**41],
    [1, 2, 1e-300, 1e-300], [-0.0, 0.0, 9, 9], [95.9, 95.9, 9, 9], [0, 0, 1e6, 1e6],
]  # fmt: skip
NOT_FILES = [
    b'', b' ', b'{}', b'[]', b'null', b'3', b'"text"', b'NaN', b'{"images": 3}', b'\x00' * 64,
        b'PK\x03\x04' + b'\0' * 60,
    b'<html><body>404</body></html>', b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n',
    b'image,x1,y1,x2,y2,label\n', b'<annotation><folder>x</folder></annotation>', b'\xff\xd8\xff\xe0JFIF',
        b'[' * 200000,
    b'{"images": [], "annotations": [], "categories": []}',
        b'{"images": {}, "annotations": {}, "categories": {}}',
    b'{"images": [3], "annotations": [], "categories": []}',
        b'{"images": [[]], "annotations": [], "categories": []}',
    b'{"images": null, "annotations": null, "categories": null}', b'0 0.5 0.5 0.1 0.1\n', b"{'images': []}",
    b'{"images": [], "annotations": [], "categories": [], }',
        b'[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]',
    b'{"version": "5", "shapes": [], "imagePath": "a.jpg"}', b'{"_via_img_metadata": {}}', b'{"a": 1',
        b'{"a": 1}}',
]  # fmt: skip
SAME_TEXT = ['utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32']
SPACED = ['indent', 'escaped', 'trailing blanks']


def annotation(part: str, mutation: str, outcome: str, change: tuple, says: tuple[str, ...] = ()) -> Case:
    """A case of an annotation file; the message of a refusal names the file, or says what ``says`` has."""
    return Case('annotations', mutation, outcome, (part, *change), says or (f'{part}.json',))


SUBJECTS = (
    'area',
    'iscrowd',
    'boxes',
    'sizes',
    'image ids',
    'category ids',
    'annotation id',
    'categories',
    'more',
)
ALONE = [name for name in READ_RIGHT if not name.endswith('twice')]


def subject(mutation: str) -> str:
    """What a mutation changes: two of one subject cannot be combined."""
    return next((each for each in SUBJECTS if each in mutation), 'names')


@st.composite
def cases(draw) -> Case:
    case = draw(cases_of_training())
    # tools/test.py reads val.json alone
    uses = ['train', 'train', 'train', 'check_data', *['test'] * (case.change[0] == 'val')]
    return replace(case, use=draw(st.sampled_from(uses)))


@st.composite
def cases_of_training(draw) -> Case:
    part = draw(st.sampled_from(PARTS))
    way = draw(
        st.sampled_from(
            [
                'read right',
                'read right',
                'refused',
                'value',
                'value',
                'box',
                'far box',
                'file',
                'text',
                'cut',
                'flip',
                'several',
            ]
        )
    )
    if way == 'read right':
        name = draw(st.sampled_from(list(READ_RIGHT)))
        return annotation(part, name, SAME, ('named', (name,)))
    if way == 'several':
        names = draw(st.lists(st.sampled_from(ALONE), min_size=2, max_size=4, unique_by=subject))
        return annotation(part, 'several that are read right', SAME, ('named', tuple(names)))
    if way == 'refused':
        name = draw(st.sampled_from(list(REFUSALS)))
        return annotation(part, name, REFUSED, ('named', (name,)), REFUSALS[name][1])
    if way == 'value':
        key = draw(st.sampled_from(LISTS))
        name = draw(st.sampled_from(FIELDS[key]))
        value = draw(st.sampled_from(ODD))
        whole = draw(st.sampled_from(['one', 'all']))
        return annotation(part, f'{key}.{name} of another type', EITHER, ('value', key, name, value, whole))
    if way == 'box':
        value = draw(st.sampled_from(NOT_BOXES))
        return annotation(
            part,
            'a box that is none',
            REFUSED,
            ('value', 'annotations', 'bbox', value, draw(st.sampled_from(['one', 'all']))),
        )
    if way == 'far box':
        value, which = draw(st.sampled_from(FAR_BOXES)), draw(st.sampled_from(['one', 'all']))
        return annotation(part, 'a box far away', EITHER, ('value', 'annotations', 'bbox', value, which))
    if way == 'file':
        return annotation(part, 'another file', REFUSED, ('bytes', draw(st.sampled_from(NOT_FILES))))
    if way == 'text':
        return annotation(part, 'the same text', SAME, ('text', draw(st.sampled_from([*SAME_TEXT, *SPACED]))))
    if way == 'cut':
        return annotation(part, 'cut off', REFUSED, ('cut', draw(st.integers(0, 10**6))))
    bits = draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=3))
    return annotation(part, 'bits flipped', EITHER, ('flip', tuple(bits)))


CASE = cases()


def mutated(data: bytes, change: tuple) -> bytes:
    """The bytes of a mutated annotation file."""
    way, *rest = change
    whole = json.loads(data)
    if way == 'named':
        for name in rest[0]:
            (READ_RIGHT.get(name) or REFUSALS[name][0])(whole)
    elif way == 'value':
        key, name, value, which = rest
        for entry in whole[key] if which == 'all' else whole[key][:1]:
            entry[name] = value
    elif way == 'bytes':
        return rest[0]
    elif way == 'text':
        if rest[0] in SAME_TEXT:
            return data.decode().encode(rest[0])
        indent = 2 if rest[0] == 'indent' else None
        return json.dumps(whole, indent=indent).encode() + b'\n  \n' * (rest[0] == 'trailing blanks')
    elif way == 'cut':
        return data[: rest[0] % len(data)]
    elif way == 'flip':
        changed = bytearray(data)
        for place, bit in rest[0]:
            changed[place % len(data)] ^= 1 << bit
        return bytes(changed)
    return json.dumps(whole).encode()


def apply(arena: Arena, case: Case, folder: Path) -> tuple[str, list]:
    """Write the mutated file beside links to the images; return the tool and its arguments."""
    root = folder / 'input'
    (root / 'annotations').mkdir(parents=True)
    (root / 'images').symlink_to(arena.data / 'images')
    part, *change = case.change
    for each in PARTS:
        data = (arena.data / 'annotations' / f'{each}.json').read_bytes()
        (root / 'annotations' / f'{each}.json').write_bytes(
            mutated(data, tuple(change)) if each == part else data
        )
    path = arena.write_config(folder / 'input.py')
    arguments = ['--data-root', root]
    if case.use == 'check_data':
        return 'check_data.py', [path, *arguments, '--out', folder / 'sheet.jpg', '--limit', 1]
    arguments += ['--work-dir', folder / 'work']
    if case.use == 'test':
        return 'test.py', [path, arena.folder / 'detector.pth', *arguments]
    return 'train.py', [path, *arguments]


def result(folder: Path, case: Case, done: Done) -> dict | str:
    if case.use == 'check_data':
        return {} if (folder / 'sheet.jpg').is_file() else 'exit code 0, but no sheet was drawn'
    return metrics_of_test(folder / 'work') if case.use == 'test' else trained(folder / 'work')


def baseline(arena: Arena, case: Case) -> dict | str:
    """The losses and metrics of the unchanged files."""
    key = f'annotations {case.use}'
    if key not in arena.baselines:
        folder = arena.case_folder()
        whole = Case('annotations', 'none', SAME, ('train', 'named', ()), (), case.use)
        tool, arguments = apply(arena, whole, folder)
        arena.baselines[key] = result(folder, whole, arena.run(tool, *arguments, cwd=folder))
    return arena.baselines[key]
