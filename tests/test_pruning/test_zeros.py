"""A pruned model is checked against the whole one before it is given away."""

import pytest
import torch

from mmattn.pruning import Target, prune_to
from mmattn.pruning.graph import PruningGraph
from mmattn.pruning.ranking import Magnitude
from mmattn.pruning.zeros import require_same
from tests.test_pruning.models import network

pytest.importorskip('torch_pruning')
TARGET = Target(ops=0.6, size=(32, 32))


@pytest.fixture
def pruned():
    model = network(dict(type='mmattn.CBAM', reduction=4))
    found = prune_to(model, TARGET, Magnitude)
    return found.model, model, found.groups


def test_what_was_pruned_right_passes(pruned):
    require_same(*pruned)


def test_a_layer_that_kept_the_wrong_channels_is_found(pruned):
    model, *_ = pruned
    layer = model.out.conv  # reads the channels that conv3 computes
    with torch.no_grad():
        layer.weight.copy_(layer.weight.roll(1, dims=1))
    with pytest.raises(ValueError, match='computes other maps than the whole one with the same channels'):
        require_same(*pruned)


def test_a_layer_that_lost_none_is_found(pruned):
    model, whole, _ = pruned
    model.out.conv = whole.out.conv
    with pytest.raises(ValueError, match='does not run.*expected input.*Leave that part alone with --ignore'):
        require_same(*pruned)


def test_what_was_pruned_wrong_is_not_given_away(monkeypatch):
    prune = PruningGraph.prune

    def wrong(graph, group, channels):
        prune(graph, group, channels)
        with torch.no_grad():
            for item in group.items:
                layer = item.dep.target.module
                if isinstance(layer, torch.nn.Conv2d):
                    layer.weight.copy_(layer.weight.roll(1, dims=1))

    monkeypatch.setattr(PruningGraph, 'prune', wrong)
    with pytest.raises(ValueError, match='computes other maps than the whole one with the same channels'):
        prune_to(network(dict(type='mmattn.SE', reduction=4)), TARGET, Magnitude)
