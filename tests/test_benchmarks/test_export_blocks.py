"""The table of docs/export_blocks.md is that of its file; each block exports by each exporter, and alike."""

import copy
import functools
import json
import sys
from pathlib import Path

import pytest

for module in ('onnx', 'onnxscript', 'onnxruntime'):
    pytest.importorskip(module)
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
import export_blocks as benchmark  # noqa: E402

from mmattn.blocks.contract import run_exported  # noqa: E402
from tests.test_blocks.cases import all_blocks  # noqa: E402

BLOCKS = all_blocks()
RESULTS = json.loads(benchmark.RESULTS.read_text(encoding='utf-8'))
NEWEST = 'newest'
newest_opset = functools.cache(benchmark.newest_opset)


def test_the_page_is_that_of_the_results():
    assert benchmark.page(RESULTS) == benchmark.PAGE.read_text(encoding='utf-8')


def test_all_blocks_are_measured_and_equal_wherever_the_page_says_so():
    assert RESULTS['blocks'].keys() == BLOCKS.keys()
    for name, found in RESULTS['blocks'].items():
        for exporter, opsets in RESULTS['opsets'].items():
            for opset in opsets:
                outcome = found[exporter][str(opset)]
                if opset >= benchmark.FIRST[exporter]:
                    assert outcome['opset'] == opset and outcome['difference'] < 1e-4, (name, exporter, opset)


def test_a_failure_is_shown():
    results = copy.deepcopy(RESULTS)
    assert 'fails' not in benchmark.table(results)
    results['blocks']['SE']['torchscript']['11'] = dict(failure='no such operator')
    assert '| `SE` | fails | ' in benchmark.table(results)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
    'exporter, opset',
    [('torchscript', opset) for opset in (11, 17, 18, NEWEST)] + [('dynamo', 18), ('dynamo', NEWEST)],
)
@pytest.mark.parametrize('name', BLOCKS)
def test_every_block_by_every_exporter(name, exporter, opset):
    opset = newest_opset(exporter) if opset == NEWEST else opset
    outcome = run_exported(BLOCKS[name], exporter, opset)
    assert outcome.opset == opset and outcome.largest < 1e-4
