"""Read annotation files: their encoding, their JSON, and whether they are in COCO's detection format."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mmattn.engine.data.findings import REPAIR, DataRefused, Finding, shorten
from mmattn.engine.data.foreign_formats import recognise
from mmattn.engine.data.skim import skim, skim_categories

LARGE = 50_000_000
"""Annotation files with more characters are skimmed: parsing all of COCO's takes as long as loading it."""
_NEEDED = (
    'Needed: a dict with images (id, file_name, width, height), categories (id, name) and annotations '
    '(image_id, category_id, bbox, area, iscrowd)'
)


@dataclass
class AnnotationFile:
    """An annotation file as parsed.

    Args:
        path: Where it is.
        content: What it holds.
        encoding: The encoding of its text.
        partial: Whether it is large, so that only its first annotations are here.
    """

    path: str
    content: dict[str, Any]
    encoding: str
    partial: bool = False

    def findings(self) -> Iterator[Finding]:
        """Yield what is odd about the file itself."""
        if self.encoding != 'utf-8':
            encoding = 'UTF-8 with a byte-order mark' if self.encoding == 'utf-8-sig' else self.encoding
            yield Finding(REPAIR, f'the file is in {encoding}, which pycocotools cannot read')


def read_annotations(path: str, whole: bool = False) -> AnnotationFile:
    """Read an annotation file.

    Args:
        path: The file.
        whole: Whether to parse all of a large file, which is otherwise skimmed.

    Raises:
        DataRefused: If it is not text, not JSON, or not in COCO's detection format.
    """
    with open(path, 'rb') as file:
        data = file.read()
    encoding = json.detect_encoding(data)
    try:
        text = data.decode(encoding)
        content = skim(text) if len(text) > LARGE and not whole else None
        partial = content is not None
        if content is None:
            content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataRefused(
            f"the annotation file '{path}' ({len(data)} bytes) is not valid "
            f'{"text in UTF-8" if isinstance(error, UnicodeDecodeError) else "JSON"}: {error}. It may be cut '
            'off or not be an annotation file: copy it again'
        ) from error
    _check_format(path, content)
    return AnnotationFile(path, content, encoding, partial)


_INSTEAD: ContextVar[Callable[[], tuple[str, ...]] | None] = ContextVar('mmattn_classes', default=None)


@contextmanager
def classes_instead(names: Sequence[str] | None) -> Iterator[list[str]]:
    """Let :func:`read_classes` return these names where there is no file, for a model without its data.

    Args:
        names: The names; None lets it raise its error.

    Yields:
        A list, with the names in it once they were asked for.
    """
    asked: list[str] = []

    def instead() -> tuple[str, ...]:
        asked[:] = names
        return tuple(names)

    token = _INSTEAD.set(None if names is None else instead)
    try:
        yield asked
    finally:
        _INSTEAD.reset(token)


def read_classes(ann_file: str) -> tuple[str, ...]:
    """Return the class names of a COCO-format annotation file, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not in COCO format, or names a class twice.
    """
    if not os.path.isfile(ann_file):
        if (instead := _INSTEAD.get()) is not None:
            return instead()
        raise FileNotFoundError(
            f"no annotation file '{ann_file}', from which the classes are read. Set the data root "
            'with --data-root or MMATTN_DATA_ROOT to a folder that holds images/, '
            'annotations/train.json and annotations/val.json'
        )
    names = category_names(_read_categories(ann_file))
    if not names:
        raise DataRefused(f"the annotation file '{ann_file}' lists no category, so there is no class to find")
    check_unique(names, f"the annotation file '{ann_file}'")
    return names


def _read_categories(path: str) -> list[dict]:
    if os.path.getsize(path) > LARGE:
        with open(path, 'rb') as file:
            data = file.read()
        try:
            categories = skim_categories(data.decode(json.detect_encoding(data)))
        except UnicodeDecodeError:
            categories = None
        if categories and all(
            isinstance(each, dict) and {'id', 'name'} <= each.keys() for each in categories
        ):
            return categories
    return read_annotations(path).content['categories']


def category_names(categories: Sequence[dict]) -> tuple[str, ...]:
    """Return the names of categories; one that stands twice with the same id counts once."""
    return tuple(name for _, name in dict.fromkeys((str(c['id']), str(c['name'])) for c in categories))


def check_unique(names: Sequence[str], where: str) -> None:
    """Raise if a class is named twice."""
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if twice:
        raise DataRefused(
            f'{where} names {len(twice)} classes more than once: {", ".join(twice[:5])}. Labels could not '
            'be told apart by name: give each its own'
        )


def _check_format(path: str, content: Any) -> None:
    try:
        if isinstance(content, dict) and 'images' in content:
            content.setdefault('annotations', [])  # as files of images to predict for have it
        for key, fields in dict(
            images=('id', 'file_name'), categories=('id', 'name'), annotations=('image_id', 'category_id')
        ).items():
            if not isinstance(content[key], list):
                raise TypeError(f'{key} is {shorten(content[key])}, not a list')
            for entry in content[key]:
                for field in fields:
                    hash(entry[field])
    except (KeyError, TypeError, IndexError) as error:
        foreign = recognise(content)
        what = f'it is {foreign[0]}. {foreign[1]}' if foreign else f'{type(error).__name__} {error}'
        raise DataRefused(
            f"'{path}' is JSON, but not in COCO's detection format: {what}. {_NEEDED}"
        ) from error
    if not content['images']:
        raise DataRefused(f"the annotation file '{path}' names no image")
