"""The configs shown in docs/any_detector.md do what the page says."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from mmattn.engine.config_model import build_model
from mmattn.insertion import find_sites

PAGE = (Path(__file__).parents[2] / 'docs/any_detector.md').read_text(encoding='utf-8')
EXAMPLES = re.findall(r'```python\n(_base_ = .*?)```', PAGE, flags=re.DOTALL)


def names(example):
    return re.search(r'mmdet::(\w+)/', example)[1]


def test_the_page_shows_four_detectors():
    assert [names(example) for example in EXAMPLES] == ['yolox', 'swin', 'cascade_rcnn', 'detr']


@pytest.mark.parametrize('example', EXAMPLES, ids=names)
def test_config(example, tmp_path):
    path = tmp_path / 'my_config.py'
    path.write_text(example, encoding='utf-8')
    config = Config.fromfile(path)
    model = build_model(str(path)).eval()
    assert type(model).__mro__[2].__name__ == config.model.detector
    assert len(model.attention) == int(re.search(r'^# (\d+) blocks', example, flags=re.MULTILINE)[1])

    # tools/sites.py names the same places, whether attention stands there or not.
    base = tmp_path / 'base.py'
    base.write_text(example.splitlines()[0], encoding='utf-8')
    stock = build_model(str(base)).eval()
    assert find_sites(model).names == find_sites(stock).names

    # The stock config's weights load, and the feature maps are the same.
    found = model.load_state_dict(stock.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert found.missing_keys and all(key.startswith('attention.') for key in found.missing_keys)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        pairs = zip(model.extract_feat(image), stock.extract_feat(image))
    assert all(torch.equal(one, other) for one, other in pairs)

    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    rates = {id(p): group['lr'] for group in groups for p in group['params']}
    assert {rates[id(p)] for p in model.attention.parameters()} == {config.optim_wrapper.optimizer.lr}
