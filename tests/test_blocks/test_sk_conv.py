import copy

import pytest
import torch
from torch import nn

from mmattn import attach
from mmattn.blocks import SKConv
from tests.reference.sk_conv import sk_conv
from tests.test_blocks.helpers import check_agreement, randomise, smooth_map, timm_layer

SLOT = dict(type='mmattn.SKConv', fallback_on_stride=False)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(
    'options, shapes',
    [
        (dict(padding=1), [(1, 1), (2, 2)]),
        (dict(padding=1, stride=2, groups=2), [(1, 1), (2, 2)]),
        (dict(padding=2, dilation=2, branches=3), [(2, 2), (4, 4), (6, 6)]),
        (dict(padding=1, by='kernel_size', branches=3), [(1, 1), (2, 1), (3, 1)]),
    ],
    ids=str,
)
def test_is_the_formula(options, shapes, training):
    block = randomise(SKConv(4, 6, 3, min_channels=12, **options)).double().train(training)
    x, y = (smooth_map(3, 4, 7, 5).requires_grad_() for _ in range(2))
    parameters = {name: q.detach().clone().requires_grad_() for name, q in block.named_parameters()}
    expected = sk_conv(
        y,
        {**dict(block.named_buffers()), **parameters},
        shapes,
        options.get('stride', 1),
        options.get('groups', 1),
        training,
    )
    out = block(x)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    weight = smooth_map(*out.shape, seed=2)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-11)
    for name, q in block.named_parameters():
        torch.testing.assert_close(q.grad, parameters[name].grad, rtol=1e-9, atol=1e-11, msg=name)
    assert any(q.grad.abs().sum() > 0 for name, q in block.named_parameters() if 'fc_reduce' in name)


@pytest.mark.parametrize('options', [dict(), dict(stride=2, groups=8)], ids=str)
@pytest.mark.parametrize('by, keep_3x3', [('dilation', True), ('kernel_size', False)])
def test_agrees_with_timm(options, by, keep_3x3):
    theirs = randomise(
        timm_layer('selective_kernel', 'SelectiveKernel')(
            64, 64, rd_divisor=32, keep_3x3=keep_3x3, split_input=False, **options
        )
    ).train()
    ours = SKConv(64, 64, 3, padding=1, by=by, **options).train()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    check_agreement(ours, theirs, smooth_map(3, 64, 9, 7))


def test_weights_of_the_branches_are_a_softmax():
    (gate,) = randomise(SKConv(8, 8, 3, padding=1, branches=3)).eval().gates(torch.randn(2, 8, 5, 7)).values()
    assert gate.shape == (2, 3, 8, 1, 1)
    torch.testing.assert_close(gate.sum(1), torch.ones(2, 8, 1, 1))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('branches', range(2, 9))
@pytest.mark.parametrize('training', [True, False])
def test_identity_is_the_convolution_bit_for_bit(branches, dtype, training):
    conv = nn.Conv2d(16, 24, 3, stride=2, padding=1, groups=4, bias=True).to(dtype)
    block = SKConv(16, 24, 3, stride=2, padding=1, groups=4, bias=True, branches=branches, start='identity')
    block.load_state_dict(conv.state_dict(), strict=False)
    x = torch.randn(2, 16, 9, 7).to(dtype)
    assert block.to(dtype).train(training)(x).equal(conv(x))


def test_identity_reaches_every_parameter_after_one_step():
    torch.manual_seed(0)
    block = SKConv(16, 16, 3, padding=1, start='identity')
    x = torch.randn(4, 16, 9, 7)
    for _ in range(2):
        block.zero_grad()
        (block(x) * smooth_map(4, 16, 9, 7, dtype=torch.float32)).sum().backward()
        still = [name for name, p in block.named_parameters() if not p.grad.abs().sum() > 0]
        torch.optim.SGD(block.parameters(), 0.1).step()
    assert not still


def test_under_autocast_the_choice_is_made_in_full_precision():
    block = randomise(SKConv(16, 16, 3, padding=1)).eval()
    x = torch.randn(2, 16, 9, 7)
    expected = block(x)
    with torch.autocast('cpu', torch.bfloat16):
        out, weights = block(x), block.gates(x)['branch']
    assert out.dtype == torch.bfloat16 and weights.dtype == torch.float32
    torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.05)


def test_a_plain_checkpoint_gives_the_first_branch_its_weights():
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    state = conv.state_dict()
    for start in ('paper', 'identity'):
        block = SKConv(8, 8, 3, padding=1, start=start)
        known = ('s.0.conv.weight', 'batches_tracked')
        new = {name for name in block.state_dict() if not name.endswith(known)}
        found = block.load_state_dict(state, strict=False)
        assert not found.unexpected_keys and set(found.missing_keys) == new
        assert block.paths[0].conv.weight.equal(conv.weight) and list(state) == ['weight']
    again = SKConv(8, 8, 3, padding=1, start='identity')
    again.load_state_dict(block.state_dict())
    assert all(a.equal(b) for a, b in zip(again.state_dict().values(), block.state_dict().values()))


@pytest.mark.parametrize(
    'options, text',
    [
        (
            dict(kernel_size=1),
            'kernel_size=1; it must be odd and larger than 1, so that the branches can have',
        ),
        (dict(kernel_size=4), 'kernel_size=4; it must be odd'),
        (dict(branches=1), 'branches=1; it must be at least 2'),
        (dict(by='size'), "by='size'; possible: 'dilation', 'kernel_size'"),
        (dict(padding='same'), "padding='same'; it must be one whole number or two"),
        (dict(reduction=0), 'reduction=0; it must be a positive integer'),
    ],
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        SKConv(8, 8, **options)


class TestInMMDetection:
    """Through ``dcn=`` and ``conv_cfg``."""

    @pytest.fixture(autouse=True)
    def needs_mmdet(self):
        pytest.importorskip('mmdet', reason='mmdet is not installed')

    def backbone(self, backbone_type='ResNet', **options):
        from mmdet.registry import MODELS

        return MODELS.build(dict(type=backbone_type, depth=50, base_channels=16, **options))

    def selective(self, backbone_type='ResNet', stages=(True,) * 4, slot=SLOT, **options):
        return self.backbone(backbone_type, dcn=dict(slot), stage_with_dcn=stages, **options)

    @pytest.mark.parametrize(
        'backbone_type, options',
        [
            ('ResNet', {}),
            ('ResNeXt', dict(groups=4, base_width=8)),
            ('ResNet', dict(style='caffe')),
            ('ResNet', dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))),
        ],
        ids=str,
    )
    def test_a_stock_checkpoint_starts_the_same_detector(self, backbone_type, options):
        from mmengine.runner.checkpoint import load_state_dict

        torch.manual_seed(0)
        stock = self.backbone(backbone_type, **options)
        stock.init_weights()
        randomise(stock)
        stock.eval()
        ours = self.selective(backbone_type, slot=dict(SLOT, start='identity'), **options)
        ours.init_weights()
        load_state_dict(ours, stock.state_dict())
        ours.eval()
        x = torch.randn(1, 3, 64, 96)
        assert all(a.equal(b) for a, b in zip(ours(x), stock(x)))
        blocks = [m for m in ours.modules() if isinstance(m, SKConv)]
        assert len(blocks) == 16 and all(m.groups == options.get('groups', 1) for m in blocks)

    def test_pretrained_weights_are_loaded_after_it_was_initialised(self, tmp_path):
        stock = self.backbone()
        torch.save(dict(state_dict=stock.state_dict()), tmp_path / 'stock.pth')
        ours = self.selective(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'stock.pth')))
        ours.init_weights()
        assert ours.layer3[1].conv2.paths[0].conv.weight.equal(stock.layer3[1].conv2.weight)

    def test_training_from_scratch_keeps_its_own_start(self):
        ours = self.selective(slot=dict(SLOT, start='identity'))
        ours.init_weights()
        assert ours.layer2[0].conv2.attn.fc_select.weight.abs().sum() == 0
        assert ours.layer2[0].conv2.paths[1].bn.weight.abs().sum() == 0

    def test_frozen_stages_freeze_it_and_the_rest_trains(self):
        ours = self.selective(frozen_stages=1)
        ours.train()
        sum(out.sum() for out in ours(torch.randn(2, 3, 64, 96))).backward()
        for name, p in ours.named_parameters():
            frozen = name.startswith(('conv1', 'bn1', 'layer1'))
            assert p.requires_grad != frozen and (p.grad is None) == frozen, name

    def test_survives_fusion_and_sync_bn(self):
        from mmcv.cnn.utils.fuse_conv_bn import fuse_conv_bn
        from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm

        ours = randomise(self.selective())
        ours.eval()
        x = torch.randn(1, 3, 64, 96)
        expected = ours(x)
        other = revert_sync_batchnorm(convert_sync_batchnorm(copy.deepcopy(ours)))
        other.eval()
        assert all(torch.allclose(a, b) for a, b in zip(other(x), expected))
        fused = fuse_conv_bn(copy.deepcopy(ours))
        assert not isinstance(fused.layer1[0].conv2.paths[0].bn, nn.BatchNorm2d)
        for a, b in zip(fused(x), expected):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)

    def test_conv_cfg_builds_it(self):
        from mmcv.cnn import ConvModule

        module = ConvModule(
            8,
            16,
            3,
            stride=2,
            padding=1,
            conv_cfg=dict(type='mmattn.SKConv', branches=3),
            norm_cfg=dict(type='BN'),
        )
        assert isinstance(module.conv, SKConv) and module(torch.randn(2, 8, 9, 7)).shape == (2, 16, 5, 4)
        with pytest.raises(ValueError, match="for the 3x3 ones of a ResNet write dcn=dict.type='mmattn.SKC"):
            ConvModule(8, 16, 1, conv_cfg=dict(type='mmattn.SKConv'))

    def test_insertion_says_where_it_goes(self):
        with pytest.raises(
            ValueError,
            match='SKConv replaces a convolution and cannot follow a module: '
            "give it to the backbone, as dcn=dict.type='mmattn.SKConv'",
        ):
            attach(self.backbone(), [dict(at='layer4', block=dict(type='mmattn.SKConv'))])

    def test_attention_can_be_inserted_behind_it(self):
        model = attach(self.selective(), [dict(at='layer3.*.residual', block=dict(type='mmattn.SE'))])
        model.train()
        sum(out.sum() for out in model(torch.randn(2, 3, 64, 96))).backward()
        assert all(p.grad is not None for p in model.attention.parameters())
