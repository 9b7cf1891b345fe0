"""Batch norms as PyTorch has them, but for a batch that has no variance."""

import copy

import pytest
import torch
from torch import nn

from mmattn.blocks import norm

NORMS = [(norm.BatchNorm1d, nn.BatchNorm1d, ()), (norm.BatchNorm2d, nn.BatchNorm2d, (3, 2))]


@pytest.mark.parametrize('ours, theirs, size', NORMS)
def test_a_batch_with_variance_is_as_in_pytorch(ours, theirs, size):
    mine, stock = ours(4), theirs(4)
    for training in (True, False):
        x = torch.randn(5, 4, *size)
        assert mine.train(training)(x).equal(stock.train(training)(x))
    assert mine.running_var.equal(stock.running_var) and mine.num_batches_tracked == 1


@pytest.mark.parametrize('batch', [0, 1])
@pytest.mark.parametrize('ours, theirs, size', NORMS)
def test_a_batch_without_variance_uses_the_statistics(batch, ours, theirs, size):
    mine = ours(4)
    mine(torch.randn(5, 4, *size))
    before = copy.deepcopy(mine.state_dict())
    x = torch.randn(batch, 4, *(1 for _ in size))
    assert mine(x).equal(copy.deepcopy(mine).eval()(x))
    assert all(value.equal(before[name]) for name, value in mine.state_dict().items())
