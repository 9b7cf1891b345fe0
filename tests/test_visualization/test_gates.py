"""Recording gates: they are the formula's, and the model does not notice."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mmattn import attach
from mmattn.blocks import CBAM, ECA, SE, Compose, CoordAttention, External, GlobalContext
from mmattn.visualization.gate_stats import BINS, NAMES, NEAR, gate_stats
from mmattn.visualization.gates import channel_views, gate_sources, record_gates, sources_at, spatial_view
from tests.reference import cbam as reference
from tests.test_blocks.helpers import randomise
from tests.test_insertion.models import build, features, model_cfg, narrow


def traces(model):
    """All that a hook could leave on a model."""
    kinds = (
        '_forward_hooks',
        '_forward_pre_hooks',
        '_backward_hooks',
        '_backward_pre_hooks',
        '_forward_hooks_always_called',
        '_forward_hooks_with_kwargs',
    )
    return (
        [
            (
                name,
                tuple(len(getattr(m, kind)) for kind in kinds),
                sorted(m.__dict__),
                m.training,
                [id(b) for b in m._buffers.values()],
            )
            for name, m in model.named_modules()
        ],
        {key: value.clone() for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)},
        [p.requires_grad for p in model.parameters()],
        torch.get_rng_state(),
    )


def assert_same_traces(model, before):
    now = traces(model)
    assert now[0] == before[0] and now[2] == before[2] and now[3].equal(before[3])
    assert now[1].keys() == before[1].keys()
    assert all(now[1][key].equal(before[1][key]) for key in now[1])


def attended(block='mmattn.CBAM', at='backbone.layer[1-4].*.residual', **options):
    cfg = narrow(
        model_cfg(
            'RetinaNet',
            insert=[dict(at=at, block=dict(type=block, **options))],
            frozen_stages=-1,
            norm_eval=False,
        )
    )
    model = build(cfg)
    randomise(model.attention)
    return model


def test_gates_of_every_site_are_those_of_the_formula():
    """What is recorded in a detector, against the naive CBAM on the map that the block was given."""
    model = attended(reduction=4).eval()
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
    model = attended().train(training)
    before = traces(model)
    with record_gates(model) as found:
        pass
    assert_same_traces(model, before)
    assert not found


def test_norms_in_training_are_updated_once_and_gradients_are_the_same():
    model = attended().train()
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
    model = attended().train()
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


def test_plugins_are_found_too():
    plugin = dict(cfg=dict(type='mmattn.SE'), stages=(False, True, True, True), position='after_conv3')
    model = build(narrow(model_cfg('RetinaNet', depth=50, plugins=[plugin]))).eval()
    with torch.no_grad(), record_gates(model) as found:
        features(model)
    names = [each.source.name for each in found]
    assert len(names) == 4 + 6 + 3 and all(name.startswith('backbone.layer') for name in names)
    first = found[0]
    state = first.source.block.state_dict()
    assert first.gates['channel'].shape[1] == first.x.shape[1] == state[next(iter(state))].shape[1]


def test_a_shared_head_is_recorded_for_every_level():
    model = attended(at='bbox_head.cls_convs.0', block='mmattn.SE').eval()
    with torch.no_grad(), record_gates(model) as found:
        model.bbox_head(features(model))
    assert [each.call for each in found] == [0, 1, 2, 3, 4]
    assert len({each.x.shape for each in found}) == 5


def test_checkpointing_does_not_record_twice():
    model = attended().train()
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
        again = model[1].gates(model[1].held(found[0].x))
        assert len(found) == 1 and found[0].gates['channel'].equal(again['channel'])
        torch.testing.assert_close(compiled(x), expected)


def test_what_has_gates():
    halves = [dict(type='mmattn.ChannelAttention'), dict(type='mmattn.SpatialAttention')]
    model = nn.ModuleDict(
        dict(
            chain=Compose(16, halves),
            side=Compose(16, halves, how='parallel'),
            gc=GlobalContext(16),
            mixed=Compose(16, [dict(type='mmattn.GlobalContext'), dict(type='mmattn.ECA')]),
            other=External(16, dict(type='mmattn.SE')),
            norm=nn.BatchNorm2d(16),
            foreign=External(16, dict(type='torch.nn.GroupNorm', num_groups=4), channels='num_channels'),
        )
    )
    assert [source.name for source in gate_sources(model)] == [
        'chain.blocks.0',
        'chain.blocks.1',
        'side.blocks.0',
        'side.blocks.1',
        'mixed.blocks.1',
        'other.module',
    ]
    x = torch.randn(2, 16, 6, 5)
    for name in ('chain', 'side'):
        randomise(model[name])
        with torch.no_grad(), record_gates(model[name]) as found:
            y = model[name](x)
        assert [list(each.gates) for each in found] == [['channel'], ['spatial']]
        assert (x * found[0].gates['channel'] * found[1].gates['spatial']).equal(y)


def test_two_blocks_on_a_site_have_names_of_their_own():
    model = build(narrow(model_cfg('RetinaNet')))
    attach(
        model,
        [
            dict(at='neck.fpn_convs.0', block=dict(type='mmattn.SE'), order=1),
            dict(at='neck.fpn_convs.0', block=dict(type='mmattn.ECA'), order=2),
        ],
    )
    sources = gate_sources(model)
    assert [(source.name, type(source.block)) for source in sources] == [
        ('neck.fpn_convs.0#1', SE),
        ('neck.fpn_convs.0#2', ECA),
    ]


def test_globs():
    model = attended()
    assert len(sources_at([model], ['backbone.layer4.**'])[0]) == 2
    with pytest.raises(
        ValueError,
        match=r"'backbone.layer9.\*' matches no site that has a gate; nearest: "
        r'backbone.layer',
    ):
        sources_at([model], ['backbone.layer9.*'])
    with pytest.raises(ValueError, match='there is none in this model'):
        sources_at([nn.Linear(1, 1)], ['x'])


def test_views_of_gates_that_depend_on_both():
    block = CoordAttention(12)
    randomise(block)
    x = torch.randn(2, 12, 5, 7)
    gates = {kind: gate.detach() for kind, gate in block.gates(x).items()}
    product = (gates['height'] * gates['width']).numpy()
    np.testing.assert_allclose(spatial_view(gates, 12).numpy(), product.mean(1), rtol=1e-5)
    np.testing.assert_allclose(channel_views(gates, 12)['channel'].numpy(), product.mean((2, 3)), rtol=1e-5)
    groups = dict(group=torch.rand(2, 3, 5, 7))
    full = groups['group'].repeat_interleave(4, 1).numpy()
    np.testing.assert_allclose(channel_views(groups, 12)['channel'].numpy(), full.mean((2, 3)), rtol=1e-5)
    assert spatial_view(dict(channel=torch.rand(2, 12, 1, 1)), 12) is None
    assert channel_views(dict(spatial=torch.rand(2, 1, 5, 7)), 12) == {}
    branches = channel_views(dict(branch=torch.rand(2, 3, 12, 1, 1)), 12)
    assert list(branches) == ['branch 1', 'branch 2', 'branch 3']


def naive_stats(gate, low, high):
    """The definitions in numpy, gate by gate."""
    gate = gate.astype(np.float64)
    near = NEAR * (high - low)
    at_low, at_high = gate <= low + near, gate >= high - near
    channels = range(gate.shape[1])
    share = np.histogram(gate, BINS, (low, high))[0] / gate.size
    return dict(
        mean=gate.mean(),
        std=gate.std(),
        saturation=(at_low | at_high).mean(),
        stuck_low=np.mean([at_low[:, c].all() for c in channels]),
        stuck_high=np.mean([at_high[:, c].all() for c in channels]),
        entropy=-sum(p * np.log2(p) for p in share if p > 0),
    )


@pytest.mark.parametrize('shape', [(2, 8, 1, 1), (2, 1, 5, 7), (3, 4, 6, 1), (2, 3, 5, 4), (1, 1, 1, 1)])
@pytest.mark.parametrize('ends', [(0.0, 1.0), (0.0, 2.0), (1.0, 2.0)])
def test_numbers_are_those_of_numpy(shape, ends):
    random = np.random.default_rng(0)
    gate = random.uniform(*ends, shape).astype(np.float32)
    gate[:, 0] = ends[0]  # a closed channel, and an open one
    gate[:, -1] = ends[1]
    found = dict(zip(NAMES, gate_stats(torch.from_numpy(gate), *ends).tolist()))
    expected = naive_stats(gate, *ends)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-5), name


def test_numbers_of_gates_out_of_range_and_of_none():
    beyond = torch.tensor([[-0.1, 1.1]]).view(1, 2, 1, 1)
    found = dict(zip(NAMES, gate_stats(beyond).tolist()))
    assert found['saturation'] == 1 and found['stuck_low'] == found['stuck_high'] == 0.5
    assert found['entropy'] == pytest.approx(1)
    assert gate_stats(torch.empty(0, 4, 1, 1)).isnan().all()
    half = torch.rand(2, 64, 1, 1).half()
    torch.testing.assert_close(gate_stats(half), gate_stats(half.float()))
