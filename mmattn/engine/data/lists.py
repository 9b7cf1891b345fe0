"""Rules about the lists of a file: what stands there twice, and what refers to nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from mmattn.engine.data.examination import Examination
from mmattn.engine.data.findings import REFUSE, REPAIR, TELL, Finding


def categories_differ(data: Examination) -> Iterator[Finding]:
    """A category that stands there twice counts once; an id with two names is refused."""
    names = defaultdict(dict)
    for category in data.categories:
        names[category['id']].setdefault(category['name'], category)
    double = {own: list(named) for own, named in names.items() if len(named) > 1}
    if double:
        yield Finding(
            REFUSE,
            f'{len(double)} ids of categories have several names',
            [f'{own} is {" and ".join(map(str, named))}' for own, named in double.items()],
            'Give each category its own id',
        )
    elif len(names) < len(data.categories):
        yield Finding(REPAIR, f'{len(data.categories) - len(names)} categories stand there twice')
        data.categories[:] = [category for named in names.values() for category in named.values()]


def image_ids_differ(data: Examination) -> Iterator[Finding]:
    """An image that stands there twice counts once; images that share an id are left out with their boxes."""
    entries = defaultdict(dict)
    for image in data.images:
        entries[image['id']].setdefault(image['file_name'], image)
    shared = {own for own, named in entries.items() if len(named) > 1}
    left = [image for own, named in entries.items() for image in named.values() if own not in shared]
    if not shared:
        if len(left) < len(data.images):
            yield Finding(REPAIR, f'{len(data.images) - len(left)} images stand there twice')
            data.images[:] = left
        return
    lost = sum(annotation['image_id'] in shared for annotation in data.annotations)
    files = [f'{own} is {" and ".join(entries[own])}' for own in shared]
    text = (
        f'{len(shared)} ids are given to several images each, so that {lost} of {len(data.annotations)} '
        'boxes belong to no certain one'
    )
    if 2 * lost > len(data.annotations) or 2 * len(left) < len(data.images):
        yield Finding(REFUSE, text, files, 'Give each image its own id')
    else:
        yield Finding(REPAIR, f'{text}. These images and boxes are left out', files)
        data.images[:] = left
        data.annotations[:] = [each for each in data.annotations if each['image_id'] not in shared]


def references_lead_somewhere(data: Examination) -> Iterator[Finding]:
    """Annotations belong to images and categories that are listed."""
    images = [image['id'] for image in data.images]
    yield from _references(data, 'image', 'image_id', images)
    yield from _references(data, 'category', 'category_id', [category['id'] for category in data.categories])


def _references(data: Examination, what: str, field: str, ids: Sequence) -> Iterator[Finding]:
    known, count = set(ids), len(data.annotations)
    unknown = Counter(each[field] for each in data.annotations if each[field] not in known)
    if not unknown:
        return
    lost = sum(unknown.values())
    used = {annotation[field] for annotation in data.annotations}
    text = f'{lost} of {count} annotations are of {what} ids that the file does not list'
    shift = _shift(used, known)
    if shift is not None:
        yield Finding(
            REFUSE,
            f'{text}: the annotations count from {min(used)} and the list from {min(known)}, so all others '
            f'would belong to the wrong {what}',
            list(unknown),
            f'Add {shift} to each {field}, or number the list as the annotations do',
        )
        return
    served = len({annotation[field] for annotation in data.annotations} & known)
    # a list of annotations that is shared by several files serves most images of each
    most = 2 * lost > count and (what == 'category' or 2 * served < len(known))
    yield Finding(
        REFUSE if most else TELL,
        text if most else f'{text}: MMDetection leaves them out',
        list(unknown),
        f'List them, or correct {field}' if most else '',
    )


def _shift(used: set, known: set) -> int | None:
    """Return by how much ids are shifted where one list counts from 0 and the other from 1."""
    if not all(type(own) is int for own in used | known) or len(known) < 2:
        return None
    for shift in (1, -1):
        first, last = (min(known), max(known)) if shift == 1 else (max(known), min(known))
        whole = max(known) - min(known) + 1 == len(known)
        if whole and first - shift in used and last not in used and {own + shift for own in used} <= known:
            return shift
    return None


def files_are_listed_once(data: Examination) -> Iterator[Finding]:
    """An image that is listed once for each of its boxes becomes one image with all of them."""
    entries = defaultdict(list)
    for image in data.images:
        entries[image['file_name']].append(image)
    double = {name: each for name, each in entries.items() if len(each) > 1}
    if not double:
        return
    boxes = defaultdict(set)
    for annotation in data.annotations:
        boxes[annotation['image_id']].add((annotation['category_id'], *annotation['bbox']))
    merged = {}
    alike = []
    for name, each in double.items():
        if len({frozenset(boxes[image['id']]) for image in each}) == 1:
            alike.append(name)  # repeated on purpose, perhaps, to be seen more often
        else:
            merged.update({image['id']: each[0]['id'] for image in each[1:]})
    if alike:
        yield Finding(TELL, f'{len(alike)} images are listed several times with the same boxes', alike)
    if merged:
        if data.partial:
            yield Finding(REPAIR, f'{len(merged)} images are listed again', [])
            return
        data.images[:] = [image for image in data.images if image['id'] not in merged]
        for annotation in data.annotations:
            annotation['image_id'] = merged.get(annotation['image_id'], annotation['image_id'])
        names = [name for name in double if name not in alike]
        yield Finding(
            REPAIR,
            f'{len(names)} images are listed several times, each time with some of their boxes: joined',
            names,
        )


def boxes_stand_once(data: Examination) -> Iterator[Finding]:
    """Tell of boxes that are there twice on the same image with the same category."""
    count = Counter((each['image_id'], each['category_id'], *each['bbox']) for each in data.annotations)
    double = [f'{box[2:]} on image {box[0]}' for box, times in count.items() if times > 1]
    if double:
        yield Finding(TELL, f'{len(double)} of {len(count)} boxes stand there several times', double)
