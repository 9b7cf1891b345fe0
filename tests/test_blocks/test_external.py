import copy

import pytest
import torch
from torch import nn

from mmattn.blocks import SE, External
from tests.test_blocks.cases import Gate
from tests.test_blocks.helpers import randomise, smooth_map, timm_layer

X = smooth_map(2, 16, 7, 5, dtype=torch.float32)
GATE = dict(type='tests.test_blocks.cases.Gate')


class Wider(nn.Module):
    def __init__(self, in_channels, kernel_size=1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 2 * in_channels, kernel_size)

    def forward(self, x):
        return self.conv(x)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Squeeze(nn.Module):
    def __init__(self, input_channels, squeeze_channels):
        super().__init__()
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return x * self.drop(self.fc2(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class OnData(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum().item() > 0 else x


def test_paper_is_the_module_as_it_is():
    block = External(16, GATE, channels='width')
    assert isinstance(block.module, Gate) and [*dict(block.named_parameters())] == [
        'module.fc.weight',
        'module.fc.bias',
    ]
    assert block(X).equal(block.module(X))


def test_identity_mixes_the_module_in():
    block = randomise(External(16, GATE, channels='width', start='identity'))
    mix = block.mix.detach()
    assert mix.shape == (1, 16, 1, 1)
    torch.testing.assert_close(block(X), X + mix * (block.module(X) - X))


def test_identity_is_exact_where_a_difference_would_overflow():
    block = External(
        16, dict(type='torch.nn.Hardtanh', min_val=-6e4, max_val=-6e4 + 100), channels=None, start='identity'
    )
    x = torch.full((1, 16, 2, 2), 6e4, dtype=torch.float16)
    assert torch.isinf(block.module(x) - x).all()
    assert block(x).equal(x)


def test_a_module_with_an_option_start_gets_it():
    block = External(16, dict(type='mmattn.SE'), start='identity')
    assert block.module.start == 'identity' and not hasattr(block, 'mix')
    assert block(X).equal(X)


def test_a_fraction_of_the_channels():
    config = dict(type=Squeeze, squeeze_channels=dict(of_channels=1 / 4))
    for channels, hidden in ((16, 4), (2, 1)):
        block = External(channels, config, channels='input_channels')
        assert block.module.fc1.out_channels == hidden


def test_checking_the_output_has_no_side_effects():
    norm = External(16, dict(type='torch.nn.BatchNorm2d'), channels='num_features')
    assert norm.module.running_mean.abs().sum() == 0 and norm.module.num_batches_tracked == 0
    assert norm.module.training
    torch.manual_seed(0)
    External(16, dict(type=Squeeze, squeeze_channels=4), channels='input_channels')
    after = torch.rand(3)
    torch.manual_seed(0)
    for _ in range(2):  # the module, and the new one in reset_parameters
        Squeeze(16, 4)
    assert torch.rand(3).equal(after)


def test_a_module_that_depends_on_data_is_accepted():
    assert External(16, dict(type=OnData), channels=None)(X.abs()).equal(X.abs() * 2)


def test_timms_module_by_its_path(monkeypatch):
    import sys
    import types

    layer = timm_layer('squeeze_excite', 'SEModule')
    monkeypatch.setitem(sys.modules, 'timm_se', types.SimpleNamespace(SEModule=layer, __spec__=None))
    block = External(64, dict(type='timm_se.SEModule', rd_ratio=1 / 8), channels='channels', start='identity')
    x = smooth_map(2, 64, 7, 5, dtype=torch.float32)
    assert block(x).equal(x)
    ours = SE(64, 8)
    ours.load_state_dict(block.module.state_dict())
    with torch.no_grad():
        block.mix.fill_(1)
    torch.testing.assert_close(block(x), ours(x))


def test_a_timm_module_without_a_counterpart_here():
    layer = timm_layer('coord_attn', 'EfficientLocalAttn')
    block = External(64, dict(type=layer, kernel_size=7), channels='channels', start='identity')
    x = smooth_map(2, 64, 7, 5, dtype=torch.float32)
    assert block(x).equal(x) and not block.module(x).equal(x)


def test_torchvisions_module_by_its_path():
    pytest.importorskip('torchvision', reason='torchvision is not installed')
    config = dict(type='torchvision.ops.SqueezeExcitation', squeeze_channels=dict(of_channels=1 / 16))
    block = External(64, config, channels='input_channels', start='identity')
    x = smooth_map(2, 64, 7, 5, dtype=torch.float32)
    assert block(x).equal(x)
    ours = SE(64)
    ours.load_state_dict(block.module.state_dict())
    torch.testing.assert_close(block.module(x), ours(x))


def test_a_parents_init_is_undone():
    block = External(16, GATE, channels='width')
    nn.init.constant_(block.module.fc.weight, 0.7)
    block.init_weights()
    assert block.module.fc.weight.unique().numel() > 1


def test_a_deepcopy_computes_the_same():
    block = randomise(External(16, GATE, channels='width', start='identity'))
    assert copy.deepcopy(block)(X).equal(block(X))


@pytest.mark.parametrize(
    'error, options, text',
    [
        (
            ValueError,
            dict(module='torch.nn.Identity'),
            "module must be a config with a type, such as .* got 'torch",
        ),
        (
            ValueError,
            dict(module=dict(type='nowhere.at.all')),
            "'nowhere.at.all' is not registered and cannot be imported: ModuleNotFoundError: No module named",
        ),
        (
            ValueError,
            dict(module=dict(type='torch.nn.Nothing')),
            "AttributeError: .* has no attribute 'Nothing'",
        ),
        (
            ValueError,
            dict(module=dict(type='builtins.int')),
            "is <class 'int'>, which is not a subclass of torch",
        ),
        (ValueError, dict(module=dict(type=int)), 'which is not a subclass of torch.nn.Module'),
        (
            ValueError,
            dict(module=dict(type=Pair), channels=None),
            r'Pair returns a tuple for a map of shape \(2, 16, .*; a block must return one map',
        ),
        (
            ValueError,
            dict(module=dict(type=Wider)),
            r'Wider returns the shape \(2, 32, 32, 48\) for a map of shape \(2, 16, 32, 48\); '
            'a block must keep the shape',
        ),
        (
            ValueError,
            dict(module=dict(type='torch.nn.Linear', in_features=3, out_features=3), channels=None),
            r'Linear cannot be run on a map of shape \(2, 16, 32, 48\): ',
        ),
        (ValueError, dict(module=GATE, channels=['width']), r"channels=\['width'\]; it must be the name of"),
        (
            ValueError,
            dict(module=dict(type=Squeeze, squeeze_channels=dict(of_channels='x'))),
            "of_channels='x'; it must be a fraction of in_channels, such as 1/16",
        ),
        (
            TypeError,
            dict(module=GATE),
            "Gate has no argument 'in_channels' for the number of channels. Give its name as channels=..., "
            'or channels=None if it has none. Its arguments: width',
        ),
        (
            TypeError,
            dict(module=dict(GATE, width=3), channels='width'),
            "'width' of Gate is the number of channels at the site; remove it from module",
        ),
        (
            TypeError,
            dict(module=dict(type=Squeeze), channels='input_channels'),
            "Squeeze needs 'squeeze_channels'. Give the name of the one for the number of channels as",
        ),
        (
            TypeError,
            dict(module=dict(GATE, depth=3), channels='width'),
            "Gate has no option 'depth'. Its option",
        ),
    ],
)
def test_bad_options_are_refused(error, options, text):
    with pytest.raises(error, match=text):
        External(16, **options)
