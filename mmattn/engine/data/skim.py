"""Read the images, the categories and the first annotations of a large file without parsing all of it."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any

FIRST = 5000
"""So many annotations are parsed; what an exporter does wrong, it does from the start."""
_LISTS = ('images', 'categories', 'annotations')
_FIELDS = ('image_id', 'category_id', 'bbox', 'area', 'iscrowd')


def skim(text: str) -> dict[str, Any] | None:
    """Return a file's images, categories and first annotations; None if the whole file must be parsed.

    It must be if a list is not where it can be found, if an annotation lacks a field that others have (the
    names of the fields are counted), or if a number is NaN.
    """
    if not text[-1000:].rstrip().endswith('}') or 'NaN' in text:
        return None
    starts = {key: find_list(text, key) for key in _LISTS}
    if None in starts.values():
        return None
    counts = {text.count(f'"{field}"') for field in _FIELDS}
    if len(counts) != 1:
        return None
    decoder = json.JSONDecoder()
    try:
        content = {key: decoder.raw_decode(text, starts[key])[0] for key in ('images', 'categories')}
        content['annotations'] = list(islice(_entries(text, starts['annotations'] + 1), FIRST))
    except (ValueError, RecursionError):
        return None
    # licenses and others may have ids too
    least = counts.pop() + len(content['images']) + len(content['categories'])
    return content if text.count('"id"') >= least else None


def skim_categories(text: str) -> list[Any] | None:
    """Return a file's categories; None if the whole file must be parsed."""
    start = find_list(text, 'categories')
    try:
        return None if start is None else json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        return None


def find_list(text: str, key: str) -> int | None:
    """Return where the list of a key begins; None if the key is not there once, or has no list."""
    at = text.find(f'"{key}"')
    found = re.compile(rf'"{key}"\s*:\s*(?=\[)').match(text, max(at, 0))
    return None if found is None or text.find(f'"{key}"', at + 1) >= 0 else found.end()


def _entries(text: str, at: int):
    """Parse the entries of a list one by one; ``at`` is behind its opening bracket."""
    decoder = json.JSONDecoder()
    between = re.compile(r'[\s,]*')
    while True:
        at = between.match(text, at).end()
        if text[at : at + 1] == ']':
            return
        entry, at = decoder.raw_decode(text, at)
        yield entry
