"""Read from a command line which results files are compared: variants, and the seeds of each."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence

from mmattn.study.evaluation import RunResults

_OF_TYPE = re.compile(r'\.(bbox|segm)\.json$')


def parse_variants(arguments: Sequence[str], iou_types: Sequence[str]) -> list[RunResults]:
    """Return the runs that the arguments name.

    Each is ``FILE``, ``NAME=FILE`` or ``NAME=FILE,FILE,...``, the last with a file for each seed; ``*`` and
    ``?`` in them stand for the files that match, in order. A variant without a name is called as its file, or
    as its folder where files have the same name. The first files of all variants are paired, the second ones,
    and so on.

    MMDetection's ``X.bbox.json`` and ``X.segm.json`` belong together: either stands for both.

    Raises:
        ValueError: If fewer than two variants are named, a name is given twice, or nothing matches.
    """
    named = [_split(argument) for argument in arguments]
    unnamed = [files[0] for name, files in named if not name]
    short = _short_names(unnamed)
    variants: dict[str, list[str]] = {}
    for name, files in named:
        name = name or short[files[0]]
        if name in variants:
            raise ValueError(
                f"two variants are called '{name}': name them with NAME=FILE; the files of several seeds of "
                'one variant are separated by commas, NAME=FILE,FILE'
            )
        variants[name] = files
    if len(variants) < 2:
        raise ValueError(
            f"there is one variant, '{next(iter(variants), '')}', and it takes two to compare: give another "
            'file'
        )
    return [
        RunResults(name, seed, {each: _of_type(file, each) for each in iou_types})
        for name, files in variants.items()
        for seed, file in enumerate(files)
    ]


def default_iou_types(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return what is evaluated if the user does not say: masks if all files are of masks, else boxes."""
    files = [file for argument in arguments for file in _split(argument)[1]]
    return ('segm',) if all(file.endswith('.segm.json') for file in files) else ('bbox',)


def _split(argument: str) -> tuple[str, list[str]]:
    if os.path.exists(argument):  # whatever is in its name
        return '', [argument]
    name, equals, rest = argument.partition('=')
    if not equals:
        name, rest = '', argument
    files = [rest] if os.path.exists(rest) else [each for part in rest.split(',') for each in _matching(part)]
    if not files or (equals and not name):
        raise ValueError(
            f"'{argument}' is no variant: give FILE, NAME=FILE or NAME=FILE,FILE for several seeds"
        )
    return name, files


def _matching(pattern: str) -> list[str]:
    if not pattern:
        return []
    if os.path.exists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    found = sorted(glob.glob(pattern), key=_natural)
    if not found:
        raise ValueError(f"no file matches '{pattern}'")
    return found


def _natural(path: str) -> list:
    """Sort seed2 before seed10."""
    return [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', path)]


def _short_names(files: Sequence[str]) -> dict[str, str]:
    """Return a name for each file: its own, with as many folders before it as tell them apart."""
    parts = {file: _OF_TYPE.sub('.json', os.path.normpath(file)).split(os.sep) for file in files}
    for each in parts.values():
        each[-1] = each[-1].removesuffix('.json')
    for number in range(1, max(map(len, parts.values()), default=1) + 1):
        names = {file: '/'.join(each[-number:]) for file, each in parts.items()}
        if len(set(names.values())) == len(names):
            break
    folders = {file: os.path.dirname(name) for file, name in names.items()}
    apart = len(set(folders.values())) == len(folders) and all(folders.values())
    return folders if apart else names


def _of_type(file: str, iou_type: str) -> str:
    sibling = _OF_TYPE.sub(f'.{iou_type}.json', file)
    return sibling if os.path.exists(sibling) else file
