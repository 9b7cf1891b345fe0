"""What is refused, and what the refusal says."""
import pytest
import torch
from mmdet.models import ResNet

from mmattn import attach, sites
from tests.test_insertion.models import build, model_cfg

SE = dict(type='mmattn.SE')


@pytest.fixture(scope='module')
def backbone():
    return ResNet(18)


@pytest.mark.parametrize('rules, error, text', [
    ([], ValueError, 'no rule was given, so there is nothing to insert; a rule is dict.at='),
    ([dict(at='layer5.*.residual', block=SE)], ValueError,
     r"rule at='layer5.\*.residual': nothing in the model matches 'layer5.\*.residual'; "
     'nearest: layer4, layer3, layer2'),
    ([dict(at='layer4.*.residul', block=SE)], ValueError, 'nearest: layer4.1.residual, layer4.0.residual'),
    ([dict(at=['layer4.0.residual', 'lair'], block=SE)], ValueError, "matches 'lair'"),
    ([dict(at='layer4.0.bn1', block=SE)], ValueError,
     "1 of the 1 modules that 'layer4.0.bn1' matches cannot hold a block; the first is "
     "'layer4.0.bn1': a norm is replaced by SyncBN conversion.*Possible nearby: layer4.0, layer4.0.residual"),
    ([dict(at='layer4.0.conv2', block=SE)], ValueError, 'conv-bn fusion would fold it in'),
    ([dict(at='relu', block=SE)], ValueError, 'not known whether ReLU returns one map'),
    ([dict(at='layer4.*.residual', block=SE), dict(at='layer4.0.*', block=SE)], ValueError,
     'cannot hold a block'),
    ([dict(at='layer4.*.residual', block=SE), dict(at='**.residual', block=SE)], ValueError,
     r"two rules claim the site 'layer4.0.residual': number 0, rule at='layer4.\*.residual', and "
     r"number 1, rule at='\*\*.residual'; a site holds one block"),
    ([dict(at='layer4.residual', block=SE)], ValueError, 'nearest: layer4.0.residual, layer4.1'),
    ([dict(at='0.residual', block=SE)], ValueError, 'nearest: layer1.0.residual, layer2.0.residual'),
    ([dict(at='layer4', block=dict(type='mmattn.SEE'))], KeyError,
     "rule at='layer4': 'mmattn.SEE' is not registered; did you mean 'mmattn.SE'.*CBAM, ECA, SE"),
    ([dict(at='layer4', block=dict(type='mmattn.Zzz'))], KeyError,
     "'mmattn.Zzz' is not registered. This registry has: CBAM"),
    ([dict(at='layer4', block=dict(type='NoSuchBlock'))], KeyError,
     "no block 'NoSuchBlock' in any registry.*such as 'mmattn.SE'"),
    ([dict(at='layer4', block=dict(type='mmattn.SE', reducton=4))], TypeError,
     "SE has no option 'reducton'; did you mean 'reduction'. Its options: reduction, bias, start"),
    ([dict(at='layer4', block=dict(type='mmattn.SE', in_channels=4))], TypeError,
     'Channels are found at the site'),
    ([dict(at='layer4', block=dict(type='mmattn.SE', start='identiy'))], ValueError,
     "rule at='layer4': SE: start='identiy'; possible: 'paper', 'identity'"),
    ([dict(at='layer4', block=dict(type=None))], ValueError, 'is a config with a type'),
    ([dict(at=3, block=SE)], ValueError, 'a glob or a list of globs; got 3'),
    ([dict(at='layer4', block=SE, freeze_with_host='no')], ValueError, "True or False; got 'no'"),
    (None, TypeError, 'a list of rules is needed, such as .*; got None'),
    ('layer4', TypeError, "a list of rules is needed, such as .*; got 'layer4'"),
    ([dict(at='layer4', block='mmattn.SE')], ValueError, 'is a config with a type'),
    ([dict(at='layer4')], KeyError, "a rule needs 'block'"),
    ([dict(block=SE)], KeyError, "a rule needs 'at'"),
    ([dict(at='layer4', blok=SE)], KeyError, "a rule has no 'blok'; it has at, block"),
    ([dict(at=[], block=SE)], ValueError, 'a glob or a list of globs'),
    (['layer4'], TypeError, 'a rule is a dict such as'),
])
def test_refusals(backbone, rules, error, text):
    before = list(backbone.state_dict())
    with pytest.raises(error, match=text):
        attach(backbone, rules)
    # All or nothing: the model is as it was.
    assert type(backbone) is ResNet and list(backbone.state_dict()) == before
    assert not any(module._forward_hooks for module in backbone.modules())


def test_a_second_attach_is_refused():
    backbone = attach(ResNet(18), dict(at='layer4', block=SE))
    with pytest.raises(ValueError, match='has attention already: give all rules in one call'):
        attach(backbone, [dict(at='layer3', block=SE)])


def test_a_host_that_does_not_return_one_map_says_so():

    class Two(torch.nn.Conv2d):

        def forward(self, x):
            return x, x

    class Model(torch.nn.Module):

        def __init__(self):
            super().__init__()
            self.two = Two(3, 3, 1)

        def forward(self, x):
            return self.two(x)

    model = attach(Model(), dict(at='two', block=SE))
    model.init_weights()  # which its class does not have
    with pytest.raises(TypeError, match="attention at 'two': Two returned a tuple, not one map"):
        model(torch.rand(1, 3, 4, 4))


def test_a_neck_is_not_one_map():
    model = build(model_cfg())
    with pytest.raises(ValueError, match="'neck': it is not known whether FPN returns one map"):
        attach(model, dict(at='neck', block=SE))


def test_a_container_would_run_its_attention_as_a_layer():
    with pytest.raises(ValueError, match='attach to the module that holds it'):
        attach(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1)), dict(at='0', block=SE))


def test_attention_in_a_part_is_not_overlaid():
    model = build(model_cfg())
    attach(model.backbone, dict(at='layer4', block=SE))
    assert not [site for site in sites(model) if 'attention' in site.name]
    with pytest.raises(ValueError, match="its part 'backbone' has attention already"):
        attach(model, dict(at='backbone.layer4', block=SE))


def test_order_of_rules_does_not_matter():
    rules = [dict(at='layer4.*.residual', block=SE), dict(at='layer1', block=dict(type='mmattn.ECA'))]
    one, other = (attach(ResNet(18), each) for each in (rules, rules[::-1]))
    assert list(one.state_dict()) == list(other.state_dict())
