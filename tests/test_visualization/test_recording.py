"""Recorded gates equal the formula, and recording leaves the model as it was."""

import copy

import pytest
import torch
from torch import nn

from mmattn.blocks import CBAM, SE
from mmattn.visualization import record_gates
from tests.reference import cbam as reference
from tests.test_insertion.models import features
from tests.test_visualization.helpers import (
    assert_same_traces,
    model_with_attention,
    traces,
)


def test_gates_of_every_site_are_those_of_the_formula():
    """What is recorded in a detector, against the naive CBAM on the map that the block was given."""
    model = model_with_attention(reduction=4).eval()
    given = {}
    handles = [
        block.register_forward_hook(  # a clone: BasicBlock adds to what it is given, in place
            lambda m, x, y, name=site.name: given.update({name: (x[0], y.clone())})
        )
        for site, _, block in model.attention.blocks()
    ]
    with torch.no_grad(), record_gates(model) as found:
        features(model)
    for handle in handles:
        handle.remove()
    assert [each.source.name for each in found] == [site.name for site, _, _ in model.attention.blocks()]
    for each in found:
        x, y = (tensor.double() for tensor in given[each.source.name])
        state = {key: value.double() for key, value in each.source.block.state_dict().items()}
        channel = reference.channel_gate(x, state, 'ChannelGate.')
        spatial = reference.spatial_gate(x * channel, state, False, 'SpatialGate.')
        torch.testing.assert_close(each.gates['channel'].double(), channel, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(each.gates['spatial'].double(), spatial, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(x * channel * spatial, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('training', [False, True])
def test_no_trace_is_left(training):
    model = model_with_attention().train(training)
    before = traces(model)
    with record_gates(model) as found:
        pass
    assert_same_traces(model, before)
    assert not found


def test_norms_in_training_are_updated_once_and_gradients_are_the_same():
    model = model_with_attention().train()
    twin = copy.deepcopy(model)
    for each, record in ((model, True), (twin, False)):
        if record:
            with record_gates(each) as found:
                out = features(each)
                sum(f.square().mean() for f in out).backward()
        else:
            sum(f.square().mean() for f in features(each)).backward()
    assert len(found) == 8
    assert_same_traces(twin, traces(twin))
    for (name, one), (_, other) in zip(model.state_dict().items(), twin.state_dict().items()):
        assert not isinstance(one, torch.Tensor) or one.equal(other), name
    for (name, one), (_, other) in zip(model.named_parameters(), twin.named_parameters()):
        assert (one.grad is None) == (other.grad is None), name
        assert one.grad is None or one.grad.equal(other.grad), name


class _Boom(Exception):
    pass


@pytest.mark.parametrize('where', ['before', 'within', 'after'])
def test_no_trace_is_left_by_an_exception(where, monkeypatch):
    """Before the first block, in the gates themselves, and behind the forward pass."""
    model = model_with_attention().train()
    features(model)
    before = traces(model)

    def boom(*args):
        raise _Boom

    with pytest.raises(_Boom), record_gates(model):
        if where == 'before':
            handle = model.backbone.conv1.register_forward_hook(boom)
        elif where == 'within':
            monkeypatch.setattr(CBAM, 'gates', boom)
        try:
            features(model)
        finally:
            if where == 'before':
                handle.remove()
        boom()
    monkeypatch.undo()
    now = traces(model)
    assert now[0] == before[0]
    if where == 'after':
        assert not all(now[1][key].equal(before[1][key]) for key in now[1])  # the forward pass itself


def test_a_shared_head_is_recorded_for_every_level():
    model = model_with_attention(at='bbox_head.cls_convs.0', block='mmattn.SE').eval()
    with torch.no_grad(), record_gates(model) as found:
        model.bbox_head(features(model))
    assert [each.call for each in found] == [0, 1, 2, 3, 4]
    assert len({each.x.shape for each in found}) == 5


def test_checkpointing_does_not_record_twice():
    model = model_with_attention().train()
    for module in model.modules():
        if hasattr(module, 'with_cp'):
            module.with_cp = True
    with record_gates(model) as found:
        sum(f.square().mean() for f in features(model)).backward()
    assert len(found) == 8


@pytest.mark.parametrize('fullgraph', [False, True])
def test_what_was_compiled_before_is_recorded(fullgraph):
    """Compiled code does not see hooks that come later."""
    model = nn.Sequential(nn.Conv2d(3, 16, 3), SE(16), nn.ReLU()).train()
    x = torch.rand(2, 3, 8, 8)
    compiled = torch.compile(model, backend='aot_eager', fullgraph=fullgraph)
    expected = compiled(x)
    for _ in range(2):
        with record_gates(model) as found:
            compiled(x).sum().backward()
        again = model[1].gates(model[1].lazy_map(found[0].x))
        assert len(found) == 1 and found[0].gates['channel'].equal(again['channel'])
        torch.testing.assert_close(compiled(x), expected)
