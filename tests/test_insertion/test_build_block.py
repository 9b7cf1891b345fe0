"""What a block's config must be: one that builds a module that keeps the shape of its map."""

import pytest
import torch

SE = dict(type='mmattn.SE')


class Wider(torch.nn.Conv2d):
    def __init__(self, in_channels, out_channels=7):
        super().__init__(in_channels, out_channels, 1)


@pytest.mark.parametrize(
    'rules, error, text',
    [
        (
            [dict(at='layer4', block=dict(type='CBAM'))],
            KeyError,
            "no block 'CBAM' in any registry.*such as 'mmattn.CBAM'",
        ),
        (
            [dict(at='layer4', block=dict(type='mmattn.SEE'))],
            KeyError,
            "rule at='layer4': 'mmattn.SEE' is not registered; did you mean 'mmattn.SE'.*CBAM, .*SE",
        ),
        (
            [dict(at='layer4', block=dict(type='mmattn.Zzz'))],
            KeyError,
            "'mmattn.Zzz' is not registered. This registry has: .*CBAM",
        ),
        (
            [dict(at='layer4', block=dict(type='NoSuchBlock'))],
            KeyError,
            "no block 'NoSuchBlock' in any registry.*such as 'mmattn.SE'",
        ),
        (
            [dict(at='layer4', block=dict(type='mmattn.SE', reducton=4))],
            TypeError,
            "SE has no option 'reducton'; did you mean 'reduction'. Its options: reduction, bias, start",
        ),
        (
            [dict(at='layer4', block=dict(type='mmattn.SE', in_channels=4))],
            TypeError,
            'Channels are found at the site',
        ),
        (
            [dict(at='layer4', block=dict(type='mmattn.SE', start='identiy'))],
            ValueError,
            "rule at='layer4': SE: start='identiy'; possible: 'paper', 'identity'",
        ),
    ],
)
def test_options_that_no_block_has(rules, error, text, refused):
    refused(rules, error, text)


@pytest.mark.parametrize(
    'block, error, text',
    [
        (
            dict(type=int),
            TypeError,
            "<class 'int'> is <class 'int'>, which is not a subclass of torch.nn.Module",
        ),
        (
            dict(type='torch.nn.GroupNorm', num_groups=4),
            TypeError,
            r"GroupNorm has no argument 'in_channels'. Write block=dict\(type='mmattn.External', "
            r"module=dict\(type='torch.nn.GroupNorm', ...\), channels=...\), where channels= names its "
            'argument for the number of channels. Its arguments: num_groups, num_channels',
        ),
        (
            dict(type=Wider),
            ValueError,
            r'Wider returns the shape \(2, 7, 32, 48\) for a map of shape \(2, 512, 32, 48\); '
            'a block must keep the shape',
        ),
        (
            dict(type='mmattn.External', module=dict(type='torch.nn.GroupNorm')),
            TypeError,
            "rule at='layer4': External: GroupNorm has no argument 'in_channels' for the number of channels. "
            'Give its name',
        ),
    ],
)
def test_what_is_no_block(block, error, text, refused):
    refused([dict(at='layer4', block=block)], error, text)
