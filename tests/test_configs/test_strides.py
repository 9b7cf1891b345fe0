"""Anchors lie where the maps are: each level's stride is that of the neck's output."""

from pathlib import Path

import pytest

from mmattn import sites
from mmattn.engine.config_model import build_model

CONFIGS = Path(__file__).parents[2] / 'configs'
OWN_NECKS = sorted(path for path in CONFIGS.rglob('*.py') if 'in_channels=[' in path.read_text())


@pytest.mark.parametrize('config', OWN_NECKS, ids=lambda path: path.stem)
def test_each_level_of_anchors_has_the_stride_of_its_map(config, monkeypatch):
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)
    model = build_model(str(config))
    head = getattr(model, 'rpn_head', None) or model.bbox_head
    found = [site.stride for site in sites(model) if site.part == 'output']
    assert [stride for stride, _ in head.prior_generator.strides] == found
