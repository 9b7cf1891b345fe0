"""Every registered block in a detector, at a residual branch and in the neck."""

import pytest
import torch
from mmdet.testing import demo_mm_inputs

from mmattn import detach
from tests.test_blocks.cases import all_blocks
from tests.test_insertion.models import build, features, model_cfg, narrow

BLOCKS = {name: block for name, block in all_blocks().items() if block.role != 'convolution'}


@pytest.fixture(scope='module')
def stock():
    return features(build(narrow(model_cfg('RetinaNet'))).eval())


@pytest.mark.parametrize('block', BLOCKS.values(), ids=BLOCKS.keys())
def test_starts_as_the_detector_and_trains(block, stock):
    config = dict(type=block.cls, start='identity', **block.case.options)
    model = build(
        narrow(
            model_cfg(
                'RetinaNet',
                insert=[dict(at=['backbone.layer3.*.residual', 'neck.fpn_convs.1'], block=config)],
            )
        )
    )
    assert len(model.attention) == 3
    model.eval()
    with torch.no_grad():
        assert all(a.equal(b) for a, b in zip(features(model), stock))
    model.train()
    parameters = list(model.attention.parameters())
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    packed = demo_mm_inputs(2, [(3, 64, 96)] * 2, num_classes=80)
    for _ in range(2):
        optimizer.zero_grad()
        loss, _ = model.parse_losses(model(**model.data_preprocessor(packed, True), mode='loss'))
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in parameters)
        optimizer.step()
    assert not parameters or any(p.grad.abs().sum() > 0 for p in parameters)
    detach(model)
