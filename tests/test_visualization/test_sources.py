"""Find the blocks that have gates."""

import pytest
import torch
from torch import nn

from mmattn import attach
from mmattn.blocks import ECA, SE, Compose, External, GlobalContext
from mmattn.visualization import gate_sources, record_gates, sources_at, why_no_gates
from tests.test_blocks.helpers import randomise
from tests.test_insertion.models import build, features, model_cfg, narrow
from tests.test_visualization.helpers import model_with_attention


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


def test_blocks_that_have_gates_are_found():
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


def test_globs_choose_blocks_and_a_wrong_one_is_named():
    model = model_with_attention()
    assert len(sources_at([model], ['backbone.layer4.**'])[0]) == 2
    with pytest.raises(
        ValueError,
        match=r"'backbone.layer9.\*' matches no site that has a gate; nearest: "
        r'backbone.layer',
    ):
        sources_at([model], ['backbone.layer9.*'])
    with pytest.raises(ValueError, match='this model has none'):
        sources_at([nn.Linear(1, 1)], ['x'])


def test_why_there_are_no_gates():
    cfg = dict(module=dict(type='torch.nn.GroupNorm', num_groups=4), channels='num_channels')
    model = attach(
        build(narrow(model_cfg('RetinaNet'))),
        [
            dict(at='backbone.layer4.*', block=dict(type='mmattn.GlobalContext')),
            dict(at='neck.output.0', block=dict(type='mmattn.External', **cfg)),
        ],
    )
    assert gate_sources(model) == []
    assert why_no_gates(model).startswith(
        'GlobalContext (2), External (1) adds to its map or is of another p'
    )
    assert why_no_gates(nn.Conv2d(1, 1, 1)).startswith('it has no attention block of mmattn. Give the config')
