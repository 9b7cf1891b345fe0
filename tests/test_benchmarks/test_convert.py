"""The tables of docs/convert.md are those of the results file and of the list of models."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
import convert as benchmark  # noqa: E402

from mmattn.checkpoints.convert import known_models  # noqa: E402

RESULTS = json.loads(benchmark.RESULTS.read_text(encoding='utf-8'))


def test_the_page_is_that_of_the_results():
    assert benchmark.page(RESULTS) == benchmark.PAGE.read_text(encoding='utf-8')


def test_each_model_is_measured_and_equal():
    mappable = {f'{each.library} {each.name}' for each in known_models() if not each.refused}
    # MMPretrain's SE-ResNeXts need MMPretrain itself.
    left_out = {name for name in mappable if name.startswith('mmpretrain seresnext')}
    assert mappable - left_out <= RESULTS['models'].keys() <= mappable
    assert max(each['difference'] for each in RESULTS['models'].values()) < 1e-10
