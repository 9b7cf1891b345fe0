"""Rules find their sites, each site for one rule, or say which nearest names there are."""

import pytest
import torch
from mmdet.models import ResNet

from mmattn import attach, sites
from tests.test_insertion.models import build, model_cfg

SE = dict(type='mmattn.SE')


@pytest.mark.parametrize(
    'rules, error, text',
    [
        (
            [dict(at='layer5.*.residual', block=SE)],
            ValueError,
            r"rule at='layer5.\*.residual': nothing in the model matches 'layer5.\*.residual'; "
            'nearest: layer4, layer3, layer2',
        ),
        (
            [dict(at='layer4.*.residul', block=SE)],
            ValueError,
            'nearest: layer4.1.residual, layer4.0.residual',
        ),
        ([dict(at=['layer4.0.residual', 'lair'], block=SE)], ValueError, "matches 'lair'"),
        (
            [dict(at='layer4.0.bn1', block=SE)],
            ValueError,
            "1 of the 1 modules that 'layer4.0.bn1' matches cannot have a block; the first is "
            "'layer4.0.bn1': a norm is replaced by SyncBN conversion.*Possible nearby: layer4.0, "
            'layer4.0.downsample, layer4.0.residual',
        ),
        ([dict(at='layer4.0.conv2', block=SE)], ValueError, 'conv-bn fusion would fold into the convolution'),
        (
            [dict(at='layer4.*.residual', block=SE), dict(at='layer4.0.*', block=SE)],
            ValueError,
            "5 of the 7 modules that 'layer4.0.*' matches cannot have a block"
            ".*or leave it out with 'except_'",
        ),
        (
            [dict(at='layer4.*', except_='layer4.*', block=SE)],
            ValueError,
            r"'except_' \['layer4.\*'\] leaves nothing of what 'at' matches",
        ),
        (
            [dict(at='layer4.*', except_='layer9', block=SE)],
            ValueError,
            r"rule at='layer4.\*', 'except_': nothing in the model matches 'layer9'; nearest: layer",
        ),
        (
            [dict(at='layer4.*.residual', block=SE), dict(at='**.residual', block=SE)],
            ValueError,
            r"two rules claim the site 'layer4.0.residual': number 0, rule at='layer4.\*.residual', and "
            r"number 1, rule at='\*\*.residual'; give them different 'order's to have both blocks there, the "
            "lower first, or leave the site out of one with 'except_'",
        ),
        (
            [dict(at='stage4', block=SE), dict(at='layer4', block=SE)],
            ValueError,
            "two rules claim the site 'layer4': number 0, rule at='stage4', and number 1, rule at='layer4'",
        ),
        ([dict(at='layer4.residual', block=SE)], ValueError, 'nearest: layer4.0.residual, layer4.1'),
        ([dict(at='0.residual', block=SE)], ValueError, 'nearest: layer1.0.residual, layer2.0.residual'),
    ],
)
def test_what_matches_no_site_that_is_free(rules, error, text, refused):
    refused(rules, error, text)


def test_a_second_attach_is_refused():
    backbone = attach(ResNet(18), dict(at='layer4', block=SE))
    with pytest.raises(ValueError, match='has attention already: give all rules in one call'):
        attach(backbone, [dict(at='layer3', block=SE)])


class Two(torch.nn.Conv2d):
    def forward(self, x):
        return x, x


class Holder(torch.nn.Module):
    def __init__(self, unknown=None):
        super().__init__()
        self.two = Two(3, 3, 1)
        self.unused = torch.nn.Conv2d(3, 3, 1)
        self.unknown = unknown

    def forward(self, x):
        if self.unknown is not None and x.sum() > 0:  # which fake tensors cannot answer
            return x
        return self.two(x)


def test_a_host_that_does_not_return_one_map_is_refused():
    with pytest.raises(ValueError, match=r"'two': Two returns a tuple of 2, not one map \(N, C, H, W\)"):
        attach(Holder(), dict(at='two', block=SE))


def test_a_host_that_never_runs_is_refused():
    """Its attention would get no gradient, and distributed training would stop."""
    with pytest.raises(ValueError, match="'unused': Conv2d is never called when the model runs"):
        attach(Holder(), dict(at='unused', block=SE))


def test_a_model_that_cannot_run_without_data_goes_by_attributes():
    model = Holder(unknown=True)
    model = attach(model, dict(at='two', block=SE))
    model.init_weights()  # which its class does not have
    with pytest.raises(TypeError, match="attention at 'two': Two returned a tuple, not one map"):
        model(-torch.rand(1, 3, 4, 4))


def test_a_neck_is_not_one_map():
    model = build(model_cfg())
    with pytest.raises(
        ValueError,
        match=r"'neck': FPN returns a tuple of 5, not one map \(N, C, H, W\). "
        'Possible nearby: neck.output, neck.lateral, neck.topdown',
    ):
        attach(model, dict(at='neck', block=SE))


def test_a_container_would_run_its_attention_as_a_layer():
    with pytest.raises(ValueError, match='attach to the module that contains it'):
        attach(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1)), dict(at='0', block=SE))


def test_attention_in_a_part_is_not_overlaid():
    model = build(model_cfg())
    attach(model.backbone, dict(at='layer4', block=SE))
    assert not [site for site in sites(model) if 'attention' in site.name]
    with pytest.raises(ValueError, match="its part 'backbone' has attention already"):
        attach(model, dict(at='backbone.layer4', block=SE))


RULES = [
    dict(at='layer4.*.residual', block=SE),
    dict(at='layer1', block=dict(type='mmattn.ECA'), order=2),
    dict(at='stage1', block=dict(type='mmattn.SE'), order=1),
    dict(at='**.residual', except_='layer4.**', block=dict(type='mmattn.ECA')),
]


def test_order_of_rules_does_not_matter():
    x = torch.rand(1, 3, 32, 48)
    torch.manual_seed(1)
    stock = ResNet(18).state_dict()
    found = []
    for rules in (RULES, RULES[::-1], RULES[2:] + RULES[:2]):
        torch.manual_seed(0)
        backbone = ResNet(18)
        backbone.load_state_dict(stock)
        found.append(attach(backbone, rules).eval())
    for other in found[1:]:
        assert list(other.state_dict()) == list(found[0].state_dict())
        assert all(torch.equal(a, b) for a, b in zip(found[0](x), other(x)))


def test_several_blocks_follow_one_another_by_their_order():
    backbone = attach(ResNet(18), RULES).eval()
    eca, se = RULES[1]['order'], RULES[2]['order']
    assert eca > se
    first, second = backbone.attention['layer1']
    assert (type(first).__name__, type(second).__name__) == ('SE', 'ECA')
    for parameter in backbone.attention.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.rand(1, 64, 12, 16)
    assert torch.equal(backbone.layer1(x), second(first(_layer1(backbone, x))))


def _layer1(backbone, x):
    for block in backbone.layer1:
        x = block(x)
    return x


@pytest.mark.parametrize('key', ['except_', 'except'])
def test_except_leaves_sites_out(key):
    backbone = attach(ResNet(18), [{'at': '**.residual', key: ['layer1.**', '**.1.residual'], 'block': SE}])
    assert list(backbone.attention) == [f'layer{i}_0_residual' for i in (2, 3, 4)]


def test_except_leaves_out_by_a_virtual_name_too():
    model = attach(build(model_cfg()), [dict(at='neck.*convs.*', except_='neck.lateral', block=SE)])
    assert list(model.attention) == [f'neck_fpn_convs_{i}' for i in range(4)]
