"""Does attention that starts as the identity change what a model answers: what counts, and what is seen."""

import re

import pytest
import torch
from torch import nn

from mmattn.insertion import identity

CBAM = dict(type='mmattn.CBAM', start='identity')


class Net(nn.Module):
    """A backbone of two stages and a neck, of convolutions without norms."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.neck = nn.Conv2d(8, 4, 1)

    def extract_feat(self, x):
        return (self.neck(self.backbone(x)),)


@pytest.fixture
def net():
    return identity.randomise(Net()).eval()


def report_on(net, block=CBAM):
    parts = {site.part for site in identity.sites(net)}
    return identity.check_identity(net, torch.rand(1, 3, 9, 7), block, parts)


def test_a_model_that_is_as_promised(net):
    report = report_on(net)
    assert report.problems == [] and report.idle == [] and report.maps == 1
    assert sum(report.sites.values()) >= 3


def test_random_gates_are_seen(net):
    problems = report_on(net, dict(CBAM, start='paper')).problems
    assert len(problems) == 1
    assert re.fullmatch(r'with attention 1 of 1 maps differ, map 0 by up to [\d.e-]+', problems[0])


def test_the_sign_of_zero_is_seen():
    assert not identity._same_bits(torch.tensor(0.0), torch.tensor(-0.0))
    assert identity._same_bits(torch.tensor([float('nan')]), torch.tensor([float('nan')]))


@pytest.mark.parametrize(
    'name, harm, text',
    [
        (
            'attach',
            lambda net: net.backbone[0].weight.data.mul_(2),
            'with attention 1 tensors of the model are gone or changed, the first is backbone.0.weight',
        ),
        (
            'attach',
            lambda net: net.backbone.register_buffer('more', torch.zeros(1)),
            "attach added 1 keys outside 'attention', the first is backbone.more",
        ),
        (
            'detach',
            lambda net: net.backbone[0].register_forward_hook(lambda *_: None),
            "detach left traces on 'backbone.0'",
        ),
        ('detach', lambda net: setattr(net.backbone[1], 'mark', 1), "detach left traces on 'backbone.1'"),
        (
            'detach',
            lambda net: setattr(net, '__class__', type('Other', (Net,), {})),
            'after detach the model is a Other, not a Net',
        ),
        (
            'detach',
            lambda net: net.add_module('more', nn.ReLU()),
            "after detach the modules differ: ['more']",
        ),
        (
            'detach',
            lambda net: net.register_buffer('more', torch.zeros(1)),
            'after detach the keys of the state dict differ',
        ),
        (
            'detach',
            lambda net: net.neck.bias.data.add_(1),
            'after detach 1 of 1 maps differ, map 0 by up to 1',
        ),
    ],
)
def test_harm_is_seen(net, monkeypatch, name, harm, text):
    function = getattr(identity, name)

    def harmful(model, *args):
        function(model, *args)
        harm(model)

    monkeypatch.setattr(identity, name, harmful)
    assert text in report_on(net).problems


def test_a_block_without_a_part_in_the_maps_is_named(net):
    """It runs, but what it returns is dropped: DDP would wait for its gradient."""
    net.extract_feat = lambda x: (net.neck(net.backbone(x)), net.extra(x))[:1]
    net.add_module('extra', nn.Conv2d(3, 4, 1))
    report = report_on(net)
    assert report.idle == ['extra'] and report.problems == []


def test_a_model_without_such_sites_is_no_error(net):
    report = identity.check_identity(net, torch.rand(1, 3, 9, 7), CBAM, ('residual',))
    assert report == identity.IdentityReport()


def test_equality_of_nothing_is_not_accepted(net):
    net.neck.weight.data.zero_()
    net.neck.bias.data.zero_()
    assert report_on(net).problems == ['map 0 of the model without attention is constant']
    net.neck.bias.data.fill_(float('inf'))
    assert report_on(net).problems[0] == 'map 0 of the model without attention is not finite'
