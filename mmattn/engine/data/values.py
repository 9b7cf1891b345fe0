"""Rules about the types of values: numbers as text, ids in two types, missing fields."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mmattn.engine.data.examination import Examination
from mmattn.engine.data.findings import REFUSE, REPAIR, Finding, shorten

_LARGEST_SIDE = 2**31
"""No image has a longer side: its annotation says none."""


def ids_are_numbers(data: Examination) -> Iterator[Finding]:
    """Ids as text or as floats become whole numbers where that is unambiguous."""
    yield from _ids_of('images', data.images, data.annotations, 'image_id', ('file_name',))
    yield from _ids_of('categories', data.categories, data.annotations, 'category_id', ('name',))


def _ids_of(
    what: str, entries: list[dict], annotations: list[dict], field: str, names: Sequence[str]
) -> Iterator[Finding]:
    places = [(entry, 'id') for entry in entries] + [(each, field) for each in annotations]
    odd = Counter(type(entry[key]).__name__ for entry, key in places if type(entry[key]) is not int)
    if not odd:
        return
    example = next(entry[key] for entry, key in places if type(entry[key]) is not int)
    numbers = {entry['id']: as_id(entry['id']) for entry in entries}
    if None in numbers.values() or len(set(numbers.values())) != len(numbers):
        numbers = {own: own for own in numbers}  # other text than numbers is as good an id, if all agree
    for own, key in list(_unique_names(entries, names)):
        numbers.setdefault(key, numbers[own])  # an annotation may name what it belongs to
    ids = set(numbers.values())
    changed = 0
    for entry, key in places:
        value = entry[key]
        new = numbers.get(value, as_id(value) if as_id(value) in ids else value)
        if type(new) is not type(value) or new != value:
            entry[key] = new
            changed += 1
    if changed:
        yield Finding(
            REPAIR,
            f'{changed} of {len(places)} ids of {what} are not whole numbers '
            f'({", ".join(odd)}, for example {shorten(example)})',
        )
    types = {type(entry['id']) for entry in entries}
    if types - {int} and types - {str}:
        yield Finding(
            REFUSE,
            f'the ids of {what} are neither all whole numbers nor all text',
            [shorten(entry['id']) for entry in entries if type(entry['id']) is not int],
            'Give each a whole number',
        )


def _unique_names(entries: list[dict], names: Sequence[str]) -> Iterator[tuple[Any, str]]:
    """Yield the id and the name of entries whose name no other has."""
    for key in names:
        count = Counter(entry[key] for entry in entries if isinstance(entry[key], str))
        yield from ((entry['id'], entry[key]) for entry in entries if count.get(entry[key]) == 1)


def names_are_text(data: Examination) -> Iterator[Finding]:
    """Names of categories that are numbers become text, as class names are."""
    odd = [category for category in data.categories if not isinstance(category['name'], str)]
    if odd:
        example = odd[0]['name']
        for category in odd:
            category['name'] = str(category['name'])
        yield Finding(REPAIR, f'{len(odd)} names of categories are no text, for example {example!r}')


def sizes_are_numbers(data: Examination) -> Iterator[Finding]:
    """Sizes as text or as floats become whole numbers; what is no size becomes None."""
    texts = 0
    for image in data.images:
        for key in ('width', 'height'):
            value = image.get(key)
            if type(value) is int and 0 < value <= _LARGEST_SIDE:
                continue
            number = as_id(value)
            number = None if number is not None and number > _LARGEST_SIDE else number
            texts += number is not None and number > 0
            image[key] = number if number is not None and number > 0 else None
    if texts:
        yield Finding(REPAIR, f'{texts} widths and heights of {len(data.images)} images are text or floats')


def boxes_are_four_numbers(data: Examination) -> Iterator[Finding]:
    """Boxes of text become numbers; a missing box is that of its polygons; others are refused by id."""
    texts, polygons, bad = 0, 0, []
    for annotation in data.annotations:
        box = annotation.get('bbox')
        if type(box) is list and len(box) == 4 and all(type(v) in (int, float) for v in box):
            if not is_finite(sum(box)):
                bad.append(f'id {annotation.get("id")} has {shorten(box)}')
            continue
        if not box and (box := box_of_polygons(annotation.get('segmentation'))):
            annotation['bbox'] = box
            polygons += 1
            continue
        numbers = _numbers(annotation.get('bbox'))
        if numbers is None:
            bad.append(f'id {annotation.get("id")} has {shorten(annotation.get("bbox"))}')
        else:
            annotation['bbox'] = numbers
            texts += 1
    count = len(data.annotations)
    if texts:
        yield Finding(REPAIR, f'{texts} of {count} boxes are text')
    if polygons:
        yield Finding(REPAIR, f'{polygons} of {count} annotations have no box, but polygons that tell it')
    if bad:
        yield Finding(
            REFUSE,
            f'{len(bad)} of {count} boxes are not four finite numbers',
            bad,
            'Correct these annotations, or take them out of the file',
        )


def is_polygon(part: Any) -> bool:
    """Return True for a list of three points or more, as COCO writes a polygon."""
    return isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0


def box_of_polygons(polygons: Any) -> list[float] | None:
    """Return the box around polygons as COCO writes them; None if these are none."""
    if not isinstance(polygons, list) or not polygons:
        return None
    if not all(map(is_polygon, polygons)):
        return None
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    if not all(type(value) in (int, float) and is_finite(value) for value in (*xs, *ys)):
        return None
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def areas_and_crowds_are_there(data: Examination) -> Iterator[Finding]:
    """A missing or zero ``area`` is the box's; a missing ``iscrowd`` is 0, any number but 0 is 1."""
    areas = crowds = 0
    for annotation in data.annotations:
        area, crowd = annotation.get('area'), annotation.get('iscrowd')
        if type(area) not in (int, float) or not (area > 0 and is_finite(area)):
            annotation['area'] = _area(annotation)
            areas += annotation['area'] is not area
        if type(crowd) is not int or crowd not in (0, 1):
            annotation['iscrowd'] = int(bool(as_number(crowd)))
            crowds += 1
    count = len(data.annotations)
    if areas:
        yield Finding(REPAIR, f'{areas} of {count} annotations have no usable area: it is taken from the box')
    if crowds:
        yield Finding(
            REPAIR,
            f'{crowds} of {count} annotations have no iscrowd of 0 or 1: none is 0, any number but 0 is 1',
        )


def _area(annotation: dict) -> float:
    """Return the area that an annotation says as text; else, or if it is none, that of its box."""
    area, (_, _, width, height) = annotation.get('area'), annotation['bbox']
    number = as_number(area)
    if number is not None and number > 0 and is_finite(number):
        return number
    if width > 0 and height > 0:
        return width * height
    return area if number is area and is_finite(area) else 0  # an empty box has no area to mend


def annotation_ids_differ(data: Examination) -> Iterator[Finding]:
    """Annotations get ids from 1 on if theirs repeat or are none that pycocotools can use."""
    if data.partial or _are_ids([annotation.get('id') for annotation in data.annotations]):
        return
    before = len(data.annotations)
    first = {json.dumps(each, sort_keys=True): each for each in reversed(data.annotations)}
    if all(annotation.get('id') is not None for annotation in first.values()):
        data.annotations[:] = reversed(first.values())
    if removed := before - len(data.annotations):
        yield Finding(REPAIR, f'{removed} of {before} annotations stand there twice')
    ids = [annotation.get('id') for annotation in data.annotations]
    if _are_ids(ids):
        return
    repeated = [own for own, count in Counter(map(str, ids)).items() if count > 1 and own != 'None']
    counts = {
        'are given to several': len(repeated),
        'are missing': sum(own is None for own in ids),
        'are below 1, which pycocotools takes for "no match"': sum(
            type(own) is int and own < 1 for own in ids
        ),
        'are no whole numbers': sum(own is not None and type(own) is not int for own in ids),
    }
    for i, annotation in enumerate(data.annotations):
        annotation['id'] = i + 1
    what = ', '.join(f'{count} {text}' for text, count in counts.items() if count)
    yield Finding(REPAIR, f'of the ids of {len(ids)} annotations {what}; they are numbered anew', repeated)


def _are_ids(ids: Sequence[Any]) -> bool:
    """Whether these can be the ids of annotations."""
    # pycocotools puts them into arrays of floats
    return all(type(own) is int and 0 < own < 2**53 for own in ids) and len(set(ids)) == len(ids)


def is_finite(number: float) -> bool:
    """Whether a number is one that a float can be."""
    try:
        return math.isfinite(number)
    except OverflowError:  # JSON's whole numbers have no end
        return False


def as_number(value: Any) -> float | None:
    """Return the number that a value is or says; None if it is none."""
    if type(value) in (int, float, bool):
        return float(value) if type(value) is float else int(value)
    if isinstance(value, str):
        for number_type in (int, float):
            try:
                return number_type(value)
            except ValueError:
                pass
        return {'true': 1, 'false': 0}.get(value.strip().lower())
    return None


def as_id(value: Any) -> int | None:
    """Return the whole number that a value is or says; None if it is none.

    Example:
        >>> as_id('007'), as_id(3.0), as_id('3.0'), as_id(3.5), as_id('a3'), as_id(True)
        (7, 3, 3, None, None, None)
    """
    number = None if isinstance(value, bool) else as_number(value)
    if number is None or not is_finite(number) or number != int(number):
        return None
    return int(number)


def _numbers(box: Any) -> list[float] | None:
    """Return four finite numbers that are written as text, in a list or as one; None if it is not that."""
    if isinstance(box, str):
        try:
            box = json.loads(box)
        except ValueError:
            return None
    if not isinstance(box, list) or len(box) != 4:
        return None
    numbers = [as_number(value) for value in box]
    return None if any(n is None or not is_finite(n) for n in numbers) else numbers
