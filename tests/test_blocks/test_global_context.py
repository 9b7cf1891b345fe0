from functools import partial

import pytest
import torch
from torch import nn

from mmattn.blocks import GlobalContext
from tests.reference.global_context import global_context
from tests.test_blocks.helpers import check_against, check_agreement, randomise, smooth_map

BOTH = ['channel_mul', 'channel_add']


@pytest.mark.parametrize('pooling', ['att', 'avg'])
@pytest.mark.parametrize('fusions', [['channel_add'], ['channel_mul'], BOTH], ids=str)
def test_is_the_formula(pooling, fusions):
    block = randomise(GlobalContext(6, 0.5, pooling, fusions))
    if pooling == 'att':  # a constant added to all inputs of a softmax has no effect
        block.conv_mask.bias.requires_grad_(False)
    check_against(partial(global_context, pooling=pooling, fusions=fusions), block, smooth_map(2, 6, 5, 3))


@pytest.mark.parametrize('pooling', ['att', 'avg'])
@pytest.mark.parametrize('fusions', [['channel_add'], ['channel_mul'], BOTH], ids=str)
def test_agrees_with_mmcv(pooling, fusions):
    bricks = pytest.importorskip('mmcv.cnn', reason='mmcv is not installed')
    theirs = randomise(bricks.ContextBlock(32, 1 / 4, pooling, fusions))
    ours = GlobalContext(32, 1 / 4, pooling, fusions)
    assert _shapes(ours) == _shapes(theirs)
    check_agreement(ours, theirs, smooth_map(2, 32, 9, 5))


def _shapes(module):
    return {name: value.shape for name, value in module.state_dict().items()}


def test_starts_with_the_values_of_mmcv():
    bricks = pytest.importorskip('mmcv.cnn', reason='mmcv is not installed')
    torch.manual_seed(0)
    theirs = bricks.ContextBlock(64, 1 / 4).state_dict()
    ours = GlobalContext(64, 1 / 4).state_dict()
    for name, value in theirs.items():
        if value.unique().numel() == 1:
            assert ours[name].equal(value), name
        elif value.numel() > 10:
            assert 0.7 < ours[name].std() / value.std() < 1.4, name


def test_the_published_start_survives_a_parents_init_where_mmcvs_does_not():
    pytest.importorskip('mmdet', reason='mmdet is not installed')
    from mmdet.models import ResNet

    def difference(plugin):
        torch.manual_seed(0)
        backbone = ResNet(
            50,
            out_indices=(3,),
            plugins=[dict(cfg=plugin, stages=(False, False, False, True), position='after_conv3')],
        )
        backbone.init_weights()
        block = next(m for m in backbone.modules() if hasattr(m, 'channel_add_conv'))
        x = torch.randn(1, 2048, 5, 7)
        return (block(x) - x).abs().max()

    assert difference(dict(type='mmattn.GlobalContext')) == 0
    assert difference(dict(type='ContextBlock', ratio=1 / 16)) > 0.01


def test_multiplication_starts_at_one_half_as_published():
    x = torch.randn(2, 16, 5, 3)
    torch.testing.assert_close(GlobalContext(16, fusion_types=['channel_mul'])(x), x / 2)
    assert not GlobalContext(16, fusion_types=['channel_mul']).paper_is_identity
    assert GlobalContext(16).paper_is_identity


def test_large_half_precision_values_overflow_in_mmcv_only():
    bricks = pytest.importorskip('mmcv.cnn', reason='mmcv is not installed')
    x = torch.full((1, 32, 4, 4), 6e4, dtype=torch.float16)
    theirs = bricks.ContextBlock(32, 1 / 4)
    nn.init.ones_(theirs.conv_mask.weight)
    ours = GlobalContext(32, 1 / 4)
    ours.load_state_dict(theirs.state_dict())
    with torch.autocast('cpu', torch.float16):
        assert not torch.isfinite(theirs(x)).all()
        assert ours(x).equal(x)


@pytest.mark.parametrize(
    'options, text',
    [
        (
            dict(ratio=16),
            'ratio=16; it must be a fraction of the channels, above 0 and at most 1, such as 1/16',
        ),
        (dict(pooling_type='max'), "pooling_type='max'; possible: 'att', 'avg'"),
        (
            dict(fusion_types=['add']),
            r"fusion_types=\['add'\]; it must be a list of 'channel_add', 'channel_mul' or",
        ),
        (dict(fusion_types=[]), r'fusion_types=\[\]'),
    ],
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        GlobalContext(32, **options)
