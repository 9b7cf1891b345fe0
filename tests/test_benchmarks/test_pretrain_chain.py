"""The table of the chain from a classifier to a detector, and the chain itself in miniature."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
import pretrain_chain as benchmark  # noqa: E402

from tests.codebases import codebase  # noqa: E402


def test_the_page_is_that_of_the_results():
    page = benchmark.PAGE.read_text(encoding='utf-8')
    if not benchmark.RESULTS.is_file():
        assert '\n'.join(benchmark.MARKS) in page, 'a table without results'
        return
    results = json.loads(benchmark.RESULTS.read_text(encoding='utf-8'))
    assert benchmark.page(results) == page
    assert results['loaded']['equal'] == results['loaded']['tensors']
    assert len({run['seed'] for run in results['study']['runs']}) > 1


def test_crops_of_one_image_are_all_to_train_on_or_all_to_validate_on(squares, tmp_path):
    counts = benchmark.write_crops([squares], tmp_path, fewest=1)
    files = {path.relative_to(tmp_path).parent.as_posix() for path in tmp_path.rglob('*.png')}
    names = (f'{squares.name}-bright', f'{squares.name}-dark')
    assert files == {f'{part}/{name}' for part in ('train', 'val') for name in names}
    assert list(counts) == list(names)
    assert list(counts.values()) == [dict(train=21, val=3)] * 2  # of 24 images each tenth, from the first


@pytest.mark.slow
def test_the_chain_in_miniature(squares, tmp_path):
    codebase('mmpretrain')
    options = ['--cfg-options', 'seeds=[0,1]', 'settings.train_cfg.max_epochs=1']
    results = benchmark.run(
        squares, [squares], tmp_path, 1, {'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1}, options
    )
    assert results['loaded']['said'] == 'attention: loaded 8 of 8 blocks'
    assert results['loaded']['equal'] == results['loaded']['tensors'] > 100
    assert [each['variant'] for each in results['study']['comparisons'][:1]] == ['pretrained']
