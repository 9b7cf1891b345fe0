"""Which channels go together: against networks whose channels are at zero instead of gone."""

from copy import deepcopy

import pytest
import torch

from mmattn.insertion import brief_log
from mmattn.insertion.attach_detach import attach
from mmattn.pruning import PruningGraph
from mmattn.pruning.graph import features
from mmattn.pruning.target import _count, _lowest
from tests.test_insertion.models import build, model_cfg, narrow
from tests.test_pruning.models import Network, network, randomize, zeroed

pytest.importorskip('torch_pruning')
SE = dict(type='mmattn.SE', reduction=4)


def prune_at_random(model, ratio=0.3, seed=0, ignore=()):
    """Return a pruned copy, and one of the whole model with the same channels at zero."""
    graph = PruningGraph(deepcopy(model), ignore)
    generator = torch.Generator().manual_seed(seed)
    taken = [
        (group, _lowest(torch.rand(group.channels, generator=generator), _count(group, ratio, 1), group.sets))
        for group in graph.groups()
    ]
    whole = zeroed(model, graph, taken)
    for group, channels in taken:
        graph.prune(group, channels)
    return graph.model, whole, taken


def outputs(model, size=64):
    torch.manual_seed(1)
    with torch.no_grad():
        return features(model, torch.randn(2, 3, size, size))


@pytest.mark.parametrize('block', [None, SE, dict(type='mmattn.ESE'), dict(type='mmattn.CoordAttention')])
def test_a_pruned_network_is_one_with_channels_at_zero(block):
    model = network(block)
    pruned, whole, taken = prune_at_random(model)
    assert len(taken) == 2 and all(channels for _, channels in taken)
    assert {path for group, _ in taken for path in group.blocks} == (
        set() if block is None else {'attention.conv2', 'attention.conv3'}
    )
    for found, expected, before in zip(outputs(pruned), outputs(whole), outputs(model)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert not found.allclose(before, rtol=0.01)  # it did matter


DETECTORS = {
    'RetinaNet': ['backbone.layer[1-4].*.residual', 'neck.fpn_convs.1'],
    'FasterRCNN': ['backbone.layer[2-4].*.residual', 'neck.lateral_convs.*'],
}


@pytest.mark.parametrize('name', DETECTORS)
def test_a_pruned_detector_is_one_with_channels_at_zero(name):
    with brief_log():
        model = build(narrow(model_cfg(name, insert=[dict(at=DETECTORS[name], block=SE)])))
    randomize(model).eval()
    pruned, whole, taken = prune_at_random(model)
    assert len(taken) >= 10
    assert sum(p.numel() for p in pruned.parameters()) < 0.8 * sum(p.numel() for p in model.parameters())
    for found, expected in zip(outputs(pruned), outputs(whole), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_the_graph_leaves_the_model_as_it_is():
    with brief_log():
        model = build(narrow(model_cfg('RetinaNet', insert=[dict(at=DETECTORS['RetinaNet'], block=SE)])))
    model.train()
    before = {name: (p.requires_grad, p.clone()) for name, p in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    hooks = {name: list(module._forward_hooks) for name, module in model.named_modules()}
    assert not all(trains for trains, _ in before.values()) and not all(modes.values())
    list(PruningGraph(model).groups())
    assert {name: p.requires_grad for name, p in model.named_parameters()} == {
        name: trains for name, (trains, _) in before.items()
    }
    assert all(p.equal(before[name][1]) for name, p in model.named_parameters())
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert hooks == {name: list(module._forward_hooks) for name, module in model.named_modules()}
    assert not any('forward' in vars(block) for block in model.attention.modules())


def test_ignored_layers_keep_their_channels():
    names = [set(group.layers) for group in PruningGraph(network(SE), ['conv3']).groups()]
    assert len(names) == 1 and 'conv1.conv' in names[0]
    assert not list(PruningGraph(network(SE), ['conv*']).groups())
    with pytest.raises(
        ValueError, match="--ignore 'convv3' matches no module of this Network.*nearest: conv3"
    ):
        PruningGraph(network(SE), ['convv3'])
    backbone = build(narrow(model_cfg('RetinaNet')))
    rest = [group.layers for group in PruningGraph(backbone, ['backbone', 'bbox_head.cls_*']).groups()]
    assert rest and not any('backbone' in name or 'cls_' in name for layers in rest for name in layers)


def test_blocks_of_plugins_are_pruned_too():
    plugins = [dict(cfg=dict(type='mmattn.SE'), stages=(False, True, True, True), position='after_conv2')]
    cfg = narrow(model_cfg('RetinaNet', depth=50, plugins=plugins))
    model = randomize(build(cfg)).eval()
    pruned, whole, taken = prune_at_random(model)
    assert sum(len(group.blocks) for group, _ in taken) == 13
    for found, expected in zip(outputs(pruned), outputs(whole), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_several_blocks_on_one_site_are_pruned_alike():
    model = network()
    with brief_log():
        attach(model, [dict(at='conv3', block=SE), dict(at='conv3', block=dict(type='mmattn.ECA'), order=1)])
    pruned, _, _ = prune_at_random(model)
    assert [block.in_channels for block in pruned.attention['conv3']] == [pruned.conv3.conv.out_channels] * 2
    assert all(each.isfinite().all() for each in outputs(pruned))


class Scaled(Network):
    """With a parameter that is none of a layer's, as ConvNeXt's gamma."""

    def __init__(self):
        super().__init__()
        self.gamma = torch.nn.Parameter(torch.ones(24, 1, 1))

    def extract_feat(self, x):
        x = self.conv1(x) * self.gamma
        return self.out(self.conv3(self.depthwise(x)).relu())


class Transposed(Network):
    """With a layer whose width cannot be set."""

    def __init__(self):
        super().__init__()
        self.up = torch.nn.ConvTranspose2d(24, 24, 2, 2)

    def extract_feat(self, x):
        return self.out(self.conv3(self.depthwise(self.up(self.conv1(x)))).relu())


@pytest.mark.parametrize(
    ('model', 'why', 'layers'),
    [(Scaled, "the parameter 'gamma'", 1), (Transposed, "the ConvTranspose2d 'up'", 2)],
)
def test_what_a_config_could_not_say_is_left_alone_and_said(model, why, layers):
    graph = PruningGraph(model().eval())
    groups = list(graph.groups())
    assert [group.layers for group in groups] == [('conv3.conv',)]
    assert set(graph.kept.values()) == {why} and len(graph.kept) == layers
    assert {'conv1.conv', 'depthwise.conv'} & {name for names in graph.kept for name in names}


class Dropping(Network):
    """Computes what it does not return."""

    def extract_feat(self, x):
        x = self.conv1(x)
        self.conv2(x)
        return self.out(self.conv3(x).relu())


def test_what_is_computed_and_dropped_still_runs():
    pruned, whole, taken = prune_at_random(randomize(Dropping()).eval())
    assert len(taken) == 2 and pruned.conv2.conv.in_channels == pruned.conv1.conv.out_channels < 24
    torch.testing.assert_close(outputs(pruned)[0], outputs(whole)[0], rtol=1e-4, atol=1e-5)
