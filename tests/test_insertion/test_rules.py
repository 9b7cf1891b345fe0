"""What is refused, and what the refusal says."""
import pytest
import torch
from mmdet.models import ResNet

from mmattn import attach

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
    ([dict(at='relu', block=SE)], ValueError, 'channels that ReLU returns is not known'),
    ([dict(at='layer4.*.residual', block=SE), dict(at='layer4.0.*', block=SE)], ValueError,
     'cannot hold a block'),
    ([dict(at='layer4.*.residual', block=SE), dict(at='**.residual', block=SE)], ValueError,
     r"two rules claim the site 'layer4.0.residual': rule at='layer4.\*.residual' and "
     r"rule at='\*\*.residual'; a site holds one block"),
    ([dict(at='layer4', block=dict(type='mmattn.SEE'))], KeyError,
     "'mmattn.SEE' is not registered; did you mean 'mmattn.SE'.*CBAM, ECA, SE"),
    ([dict(at='layer4', block=dict(type='NoSuchBlock'))], KeyError,
     "no block 'NoSuchBlock' in any registry.*such as 'mmattn.SE'"),
    ([dict(at='layer4', block=dict(type='mmattn.SE', reducton=4))], TypeError,
     "SE has no option 'reducton'; did you mean 'reduction'. Its options: reduction, bias, start"),
    ([dict(at='layer4', block=dict(type='mmattn.SE', in_channels=4))], TypeError,
     'channels are found at the site'),
    ([dict(at='layer4', block=dict(type='mmattn.SE', start='identiy'))], ValueError,
     "start='identiy'; possible: 'paper', 'identity'"),
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

    class Two(torch.nn.Module):
        out_channels = 3

        def forward(self, x):
            return x, x

    model = attach(torch.nn.Sequential(Two()), dict(at='0', block=SE))
    with pytest.raises(TypeError, match="attention at '0': Two returned a tuple, not one map"):
        model(torch.rand(1, 3, 4, 4))


def test_order_of_rules_does_not_matter():
    rules = [dict(at='layer4.*.residual', block=SE), dict(at='layer1', block=dict(type='mmattn.ECA'))]
    one, other = (attach(ResNet(18), each) for each in (rules, rules[::-1]))
    assert list(one.state_dict()) == list(other.state_dict())
