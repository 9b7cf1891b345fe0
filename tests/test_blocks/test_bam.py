from functools import partial

import pytest
import torch

from mmattn.blocks import BAM
from tests.reference.bam import bam
from tests.test_blocks.helpers import check_against, randomise, smooth_map

BEFORE_A_NORM = dict(code=('fc_0.bias', 'reduce0.bias', 'di_0.bias', 'di_1.bias'), paper=('final.bias',))


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('form', ['code', 'paper'])
def test_is_the_formula_on_a_map_that_is_not_square(form, training):
    block = randomise(BAM(6, 1, dilation=2, form=form)).train(training)
    if training:  # the gradient of a bias before a norm is zero up to rounding
        for name, p in block.named_parameters():
            p.requires_grad_(not name.endswith(BEFORE_A_NORM[form]) or '_bn_' in name)
    check_against(partial(bam, form=form, dilation=2, training=training), block, smooth_map(3, 6, 5, 3))


def test_the_papers_form_starts_as_identity_and_learns():
    block = BAM(64, form='paper', start='identity').train()
    x = smooth_map(4, 64, 9, 5, dtype=torch.float32)
    assert block(x).equal(x)
    for _ in range(2):
        block.zero_grad()
        (block(x) * smooth_map(*x.shape, dtype=x.dtype, seed=3)).sum().backward()
        still = [name for name, p in block.named_parameters() if not p.grad.abs().sum() > 0]
        torch.optim.SGD(block.parameters(), lr=1e-2).step()
    assert not still


def test_has_the_official_names_and_shapes():
    shapes = {k: tuple(v.shape) for k, v in BAM(64).named_parameters()}
    c, s = 'channel_att.gate_c.gate_c_', 'spatial_att.gate_s.gate_s_'
    assert shapes == {
        f'{c}fc_0.weight': (4, 64),
        f'{c}fc_0.bias': (4,),
        f'{c}bn_1.weight': (4,),
        f'{c}bn_1.bias': (4,),
        f'{c}fc_final.weight': (64, 4),
        f'{c}fc_final.bias': (64,),
        f'{s}conv_reduce0.weight': (4, 64, 1, 1),
        f'{s}conv_reduce0.bias': (4,),
        f'{s}bn_reduce0.weight': (4,),
        f'{s}bn_reduce0.bias': (4,),
        f'{s}conv_di_0.weight': (4, 4, 3, 3),
        f'{s}conv_di_0.bias': (4,),
        f'{s}bn_di_0.weight': (4,),
        f'{s}bn_di_0.bias': (4,),
        f'{s}conv_di_1.weight': (4, 4, 3, 3),
        f'{s}conv_di_1.bias': (4,),
        f'{s}bn_di_1.weight': (4,),
        f'{s}bn_di_1.bias': (4,),
        f'{s}conv_final.weight': (1, 4, 1, 1),
        f'{s}conv_final.bias': (1,),
    }


def test_has_the_official_number_of_parameters():
    """The official ResNet-50 with BAM after three stages has 25.915 M, plain ResNet-50 25.557 M."""
    added = sum(p.numel() for c in (256, 512, 1024) for p in BAM(c).parameters())
    assert round((25_557_032 + added) / 1e6, 3) == 25.915


def test_trains_on_one_image():
    block = randomise(BAM(16)).train()
    before = block.channel_att.gate_c.gate_c_bn_1.running_mean.clone()
    assert torch.isfinite(block(torch.randn(1, 16, 5, 3))).all()
    assert block.channel_att.gate_c.gate_c_bn_1.running_mean.equal(before)


def test_other_forms_are_refused():
    with pytest.raises(ValueError, match="form='sum'; possible: 'code', 'paper'"):
        BAM(8, form='sum')
