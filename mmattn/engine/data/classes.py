"""Rules about classes: those of the config, of the annotation file and of the model's heads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.utils import is_list_of

from mmattn.engine.data.examination import Examination
from mmattn.engine.data.findings import REFUSE, REPAIR, TELL, DataRefused, Finding, some
from mmattn.engine.data.reading import check_unique

_USE = (
    "Set metainfo=dict(classes=...) of the data set to the file's categories, and num_classes of the head to "
    'their number, or use a config whose name ends in _folder, which reads both from the file'
)


def classes_are_those_of_the_file(data: Examination) -> Iterator[Finding]:
    """The categories are the configured classes; they are put in this order, which labels follow."""
    source = data.source
    names = [category['name'] for category in data.categories]
    check_unique(source.classes, f'{source.where}.metainfo.classes')
    # Only the configured categories are read, so only their names must differ.
    check_unique([name for name in names if name in source.classes], f"the annotation file '{source.path}'")
    if not names:
        yield Finding(REFUSE, 'it lists no category', remedy=_USE)
        return
    missing = [name for name in source.classes if name not in names]
    extra = [name for name in names if name not in source.classes]
    spelt = _other_spelling(missing, extra)
    if spelt:
        yield Finding(
            REFUSE,
            f'{len(spelt)} classes are spelt differently, but for case, blanks and the like, in '
            f'{source.where} and in the annotation file',
            [f"'{name}' and '{other}'" for name, other in spelt.items()],
            'Spell them alike',
        )
    elif missing and (source.part == 'train' or len(missing) == len(source.classes)):
        yield Finding(
            REFUSE,
            f'it is of another data set: {len(missing)} of the {len(source.classes)} classes that '
            f'{source.where} is configured for are not in it ({some(missing)}); its {len(names)} categories '
            f'are {some(names)}',
            remedy=_USE,
        )
    else:
        alike = _other_spelling(source.classes, source.classes)
        if alike and source.part == 'train':
            yield Finding(
                TELL,
                f'{len(alike)} classes differ from others by case, blanks and the like alone',
                [f"'{name}' and '{other}'" for name, other in alike.items()],
            )
        yield from _extra_classes(data, extra)
        yield from _same_order(data, missing)


def _other_spelling(missing: Sequence[str], extra: Sequence[str]) -> dict[str, str]:
    """Return the missing names with those extra ones that differ by case, blanks, hyphens or underscores."""
    plain = {_plain(name): name for name in extra}
    return {name: plain[_plain(name)] for name in missing if plain.get(_plain(name), name) != name}


def _plain(name: str) -> str:
    return re.sub(r'[\s_-]', '', name).casefold()


def _extra_classes(data: Examination, extra: Sequence[str]) -> Iterator[Finding]:
    if not extra:
        return
    ids = {category['id']: category['name'] for category in data.categories if category['name'] in extra}
    count = Counter(ids[each['category_id']] for each in data.annotations if each['category_id'] in ids)
    if count or data.source.part != 'train':
        yield Finding(
            TELL,
            f'{len(extra)} categories are none of the configured classes, so their {sum(count.values())} '
            'boxes are left out',
            [f'{name} ({count[name]} boxes)' for name in extra],
        )


def _same_order(data: Examination, missing: Sequence[str]) -> Iterator[Finding]:
    """Put categories in the order of the classes, and add those without a box that the file leaves out."""
    classes = data.source.classes
    if missing:
        ids = [category['id'] for category in data.categories]
        new = max((own for own in ids if type(own) is int), default=0) + 1
        data.categories.extend(dict(id=new + i, name=name) for i, name in enumerate(missing))
        yield Finding(
            REPAIR,
            f'{len(missing)} of the {len(classes)} classes are not listed: they have no box here',
            missing,
        )
    listed = [category['name'] for category in data.categories if category['name'] in classes]
    if listed != list(classes):
        at = next(i for i, name in enumerate(classes) if name != listed[i])
        place = {name: i for i, name in enumerate(classes)}
        data.categories.sort(key=lambda category: place.get(category['name'], len(classes)))
        if not missing:
            yield Finding(
                REPAIR,
                f"the categories are in another order than the classes: category {at} is '{listed[at]}' and "
                f"class {at} '{classes[at]}'. Labels follow the file, so names would be mixed up",
            )


def all_classes_have_boxes(data: Examination) -> Iterator[Finding]:
    """Tell of classes without a box to train on."""
    if data.partial or data.source.part != 'train' or not data.source.wants_boxes:
        return
    labels = set(data.boxes.labels[data.boxes.usable()])
    without = [name for i, name in enumerate(data.source.classes) if i not in labels]
    if without and labels:
        yield Finding(
            TELL, f'{len(without)} of the {len(data.source.classes)} classes have no box here', without
        )


def check_heads(node: Any, expected: int, where: str, path: str = 'model') -> None:
    """Check ``num_classes`` of every bbox_head and mask_head that has it.

    Raises:
        DataRefused: If it is not the number of classes.
    """
    if isinstance(node, (list, tuple)):
        for i, child in enumerate(node):
            check_heads(child, expected, where, f'{path}.{i}')
    elif isinstance(node, dict):
        for key, child in node.items():
            here = f'{path}.{key}'
            if key in ('bbox_head', 'mask_head'):
                heads = child if is_list_of(child, dict) else [child]
                for head in heads:
                    found = head.get('num_classes', expected) if isinstance(head, dict) else expected
                    if found != expected:
                        raise DataRefused(
                            f'{here} has num_classes={found}, but {where} has {expected} classes. '
                            f'Set {here}.num_classes={expected}'
                        )
            check_heads(child, expected, where, here)
