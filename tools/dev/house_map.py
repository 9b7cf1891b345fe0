#!/usr/bin/env python
"""Write the map of the house into docs/design.md: every module with the first line of its docstring.

python tools/dev/house_map.py            print it
python tools/dev/house_map.py --write    put it into docs/design.md
"""

from __future__ import annotations

import argparse
import ast
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/design.md'
MARKS = '<!-- tools/dev/house_map.py -->', '<!-- end -->'
FOLDERS = ('mmattn', 'tools', 'benchmarks')


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring.

    Raises:
        ValueError: The module has no docstring.
    """
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    if not text:
        raise ValueError(f'{path} has no docstring: its first line says what the file is for')
    return text.partition('\n')[0]


def house_map() -> str:
    """Return all modules by their folder, as Markdown tables."""
    paths = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob('*.py')]
    shown = sorted((p for p in paths if '.mim' not in p.parts), key=lambda p: (p.parent.as_posix(), p.name))
    parts = []
    for folder, files in groupby(shown, key=lambda path: path.parent.as_posix()):
        files = {path.name: first_line(ROOT / path) for path in files}
        about = files.pop('__init__.py', '')
        parts += [f'\n**`{folder}/`**', *([about] if about else []), '']
        if files:
            parts += ['| file | what it is for |', '|---|---|']
            parts += [f'| `{name}` | {line.replace("|", chr(92) + "|")} |' for name, line in files.items()]
    return '\n'.join(parts).strip()


def with_map(page: str, text: str) -> str:
    """Return the page with ``text`` between the two marks.

    Raises:
        ValueError: A mark is missing.
    """
    begin, end = MARKS
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f'{PAGE.name} needs the lines {begin} and {end}, between which the map goes')
    return f'{before}{begin}\n{text}\n{end}{after}'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--write', action='store_true', help=f'put the map into {PAGE.relative_to(ROOT)}')
    if parser.parse_args().write:
        PAGE.write_text(with_map(PAGE.read_text(encoding='utf-8'), house_map()), encoding='utf-8')
    else:
        print(house_map())


if __name__ == '__main__':
    main()
