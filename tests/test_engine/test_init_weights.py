"""A model that is measured is initialised as always, and its parameters are not listed."""

import logging
import uuid

import pytest
import torch
from mmengine.logging import MMLogger, print_log
from mmengine.model import BaseModule
from torch import nn

from mmattn.engine.init_weights import init_weights_quietly


class Model(BaseModule):
    def __init__(self, fails=False):
        super().__init__(dict(type='Constant', layer='Linear', val=3.0))
        self.layer = nn.Linear(2, 2)
        self.fails = fails

    def init_weights(self):
        super().init_weights()
        print_log('told', 'current', logging.WARNING)
        if self.fails:
            raise ValueError('no such file')


@pytest.fixture
def logged():
    """All that MMEngine's logger is given at its usual level."""
    lines = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())
    # One of its own: where a log file is written, MMEngine lists parameters there, and not to other handlers.
    logger = MMLogger.get_instance(f'init_weights_{uuid.uuid4().hex}')
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_the_list_of_parameters_is_left_out(logged):
    Model().init_weights()
    assert any('layer.weight' in line for line in logged)  # so MMEngine lists them
    logged.clear()
    model = Model()
    init_weights_quietly(model)
    assert logged == ['told']
    assert model.layer.weight.equal(torch.full((2, 2), 3.0))


def test_the_level_is_put_back():
    logger = MMLogger.get_current_instance()
    before = logger.level
    with pytest.raises(ValueError, match='no such file'):
        init_weights_quietly(Model(fails=True))
    assert logger.level == before
    logger.setLevel(logging.ERROR)
    init_weights_quietly(Model())
    assert logger.level == logging.ERROR
