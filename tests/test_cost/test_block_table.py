"""The table of blocks, and that what is committed is what the code says today."""

import inspect
import sys
from pathlib import Path

import pytest

from mmattn.blocks import AttentionBlock
from mmattn.cost import block_rows
from mmattn.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools'))
import blocks  # noqa: E402

TABLES = blocks.TABLES


@pytest.fixture(scope='module')
def rows():
    return block_rows()


def test_every_block_has_a_row(rows):
    assert {row.name for row in rows} == {
        name
        for name, cls in MODELS.module_dict.items()
        if inspect.isclass(cls) and issubclass(cls, AttentionBlock) and cls.__module__.startswith('mmattn.')
    }


def test_rows_say_what_the_papers_do(rows):
    by_name = {row.name: row for row in rows}
    assert (by_name['SE'].authors, by_name['SE'].year) == ('Hu et al.', 2018)
    assert by_name['SE'].costs[256].parameters == 2 * 256 * 16 + 256 + 16
    assert [by_name['ECA'].costs[c].parameters for c in (256, 512, 1024, 2048)] == [5, 5, 5, 7]
    assert by_name['SKConv'].settings == ('dcn', 'conv_cfg')
    assert by_name['CBAM'].settings == (
        'insert',
        'plugins',
    )
    assert by_name['GlobalContext'].paper_is_identity and not by_name['SE'].paper_is_identity
    assert by_name['Compose'].costs is None


@pytest.mark.parametrize('page, mark, table', TABLES, ids=lambda value: getattr(value, '__name__', ''))
def test_the_committed_tables_are_todays(rows, page, mark, table):
    text = (ROOT / page).read_text(encoding='utf-8')
    assert f'{mark}{table(rows)}<!-- end -->\n' in text, 'run tools/blocks.py --write'


def test_tables_hold_each_block_and_its_cost(rows):
    short, uses, costs = (table(rows).splitlines()[2:] for _, _, table in TABLES)
    assert len(short) == len(uses) == len(rows)
    assert len(costs) == sum(row.costs is not None for row in rows)
    assert any(line.startswith('| `SE` |') and line.endswith('| 8,464 | 34.4 |') for line in short)
    assert any(line.startswith('| `ECA` | 5 | 5 | 5 | 7 |') for line in costs)


def test_the_tool_prints_them(rows, run_tool):
    done = run_tool('blocks.py')
    assert done.out == f'{blocks.block_uses_to_markdown(rows)}\n{blocks.block_costs_to_markdown(rows)}'
