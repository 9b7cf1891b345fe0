#!/usr/bin/env python
"""List the attention blocks: paper, what they attend to, cost, where they can be inserted."""

import json
import re
from pathlib import Path

from mmattn.cost import block_costs_to_markdown, block_rows, block_uses_to_markdown, blocks_to_markdown
from mmattn.engine.cli import Parser, run_tool
from mmattn.engine.mistakes import user_input
from mmattn.files import write_file

ROOT = Path(__file__).resolve().parents[1]
# page, mark before the table, what makes the table
TABLES = (
    ('README.md', '<!-- tools/blocks.py -->\n', blocks_to_markdown),
    ('docs/blocks.md', '<!-- tools/blocks.py: uses -->\n', block_uses_to_markdown),
    ('docs/blocks.md', '<!-- tools/blocks.py: costs -->\n', block_costs_to_markdown),
)
END = '<!-- end -->\n'


def with_table(page: str, mark: str, table: str) -> str:
    """Return ``page`` with ``table`` after its mark."""
    pattern = f'({re.escape(mark)}).*?({re.escape(END)})'
    text, found = re.subn(pattern, lambda match: f'{match[1]}{table}{match[2]}', page, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f'the page has {found} tables between {mark.strip()} and {END.strip()}, not 1')
    return text


def write_chinese(page: Path) -> None:
    """Write into the Chinese page what it takes from a page. Only a checkout has the means."""
    from dev import chinese

    chinese.write(page)


def main():
    parser = Parser(description=__doc__)
    parser.add_argument('--json', action='store_true', help='for programs')
    parser.add_argument(
        '--write', action='store_true', help='write the tables into README.md and docs/blocks.md'
    )
    args = parser.parse_args()
    rows = block_rows()
    if args.json:
        print(json.dumps([row.as_json() for row in rows], indent=1))
    elif args.write:
        with user_input(errors=(ValueError, OSError)):
            for name, mark, table in TABLES:
                path = ROOT / name
                page = with_table(path.read_text(encoding='utf-8'), mark, table(rows))
                write_file(path, page)
                write_chinese(path)
    else:
        print(block_uses_to_markdown(rows), block_costs_to_markdown(rows), sep='\n', end='')


if __name__ == '__main__':
    run_tool(main)
