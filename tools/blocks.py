#!/usr/bin/env python
"""List the attention blocks: paper, what they attend to, cost, where they can stand."""

import argparse
import json
import re
from pathlib import Path

from mmattn.cost import block_rows, blocks_to_markdown

ROOT = Path(__file__).resolve().parents[1]
PAGES = ('README.md', 'docs/blocks.md')
MARKERS = '<!-- tools/blocks.py -->\n', '<!-- end -->\n'


def with_table(page, table):
    """``page`` with ``table`` between its markers."""
    pattern = f'({re.escape(MARKERS[0])}).*?({re.escape(MARKERS[1])})'
    text, found = re.subn(pattern, lambda match: f'{match[1]}{table}{match[2]}', page, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f'the page has {found} places for the table, between {MARKERS}')
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--json', action='store_true', help='for programs')
    parser.add_argument('--write', action='store_true', help=f'write the table into {" and ".join(PAGES)}')
    args = parser.parse_args()
    rows = block_rows()
    if args.json:
        print(json.dumps([row.as_json() for row in rows], indent=1))
        return
    if not args.write:
        print(blocks_to_markdown(rows), end='')
        return
    for page in PAGES:
        path = ROOT / page
        path.write_text(
            with_table(path.read_text(encoding='utf-8'), blocks_to_markdown(rows)), encoding='utf-8'
        )


if __name__ == '__main__':
    main()
