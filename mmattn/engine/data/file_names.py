"""Find the image files that an annotation file names in another way than the folder does."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from urllib.parse import unquote


def find_files(names: Iterable[str], folder: str, taken: Iterable[str] = ()) -> dict[str, str]:
    """Return the files of a folder, relative to it, that names mean beyond doubt.

    A name may have blanks around it or backslashes, be percent-encoded or a URL, begin with folders that are
    not below this one (also this one itself), or differ by case, by Unicode's normal form or by its suffix. A
    name that could mean several files, or a file that several names could mean, is left out.

    Args:
        names: Names that are no files of the folder as they stand.
        folder: The folder.
        taken: Files that other names mean.
    """
    exact, folded, stems = set(), defaultdict(list), defaultdict(list)
    for file in _files_below(folder):
        exact.add(file)
        folded[_fold(file)].append(file)
        stems[os.path.splitext(_fold(file))[0]].append(file)
    found = {}
    for name in names:
        for spelling in _spellings(name):
            key = _fold(spelling)
            other_suffix = stems.get(os.path.splitext(key)[0]) or stems.get(key)
            matches = [spelling] if spelling in exact else folded.get(key) or other_suffix
            if matches:
                if len(matches) == 1:
                    found[name] = matches[0]
                break
    count = Counter(found.values())
    count.update(taken)
    return {name: file for name, file in found.items() if count[file] == 1}


def _spellings(name: str) -> Iterator[str]:
    """Yield ways to understand a name, those that keep most of it first."""
    plain = name.strip().replace('\\', '/')
    if '://' in plain:
        plain = plain.partition('://')[2].partition('?')[0].partition('#')[0]
    for each in dict.fromkeys((plain, unquote(plain))):
        parts = [part for part in each.split('/') if part not in ('', '.')]
        for i in range(len(parts)):
            yield '/'.join(parts[i:])


def _fold(name: str) -> str:
    return unicodedata.normalize('NFC', name).casefold()


def _files_below(folder: str) -> Iterator[str]:
    for where, _, files in os.walk(folder):
        below = os.path.relpath(where, folder).replace(os.sep, '/')
        yield from (file if below == '.' else f'{below}/{file}' for file in files)
