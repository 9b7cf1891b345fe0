from functools import partial

import pytest
import torch

from mmattn.blocks import NonLocal
from tests.reference.non_local import non_local
from tests.test_blocks.helpers import check_against, randomise, smooth_map

MODES = ['embedded_gaussian', 'gaussian', 'dot_product', 'concatenation']
pytest.importorskip('mmcv', reason='mmcv is not installed')


@pytest.mark.parametrize('sub_sample', [False, True])
@pytest.mark.parametrize('mode', MODES)
def test_is_the_formula(mode, sub_sample):
    block = randomise(NonLocal(6, 2, mode=mode, sub_sample=sub_sample))
    for name, p in block.named_parameters():  # a constant added to all inputs of a softmax has no effect
        p.requires_grad_(not (mode == 'embedded_gaussian' and name in ('phi.conv.bias', 'phi.0.conv.bias')))
    check_against(partial(non_local, mode=mode, sub_sample=sub_sample), block, smooth_map(2, 6, 5, 4))


def test_scale_is_optional():
    check = NonLocal(6, 2, use_scale=False)
    block = randomise(check)
    block.phi.conv.bias.requires_grad_(False)
    check_against(partial(non_local, use_scale=False), block, smooth_map(2, 6, 5, 4))


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(sub_sample=True),
        dict(norm_cfg=dict(type='BN')),
        dict(mode='gaussian'),
        dict(mode='gaussian', sub_sample=True),
        dict(mode='dot_product'),
        dict(mode='concatenation'),
    ],
    ids=str,
)
def test_agrees_with_mmcv(options):
    from mmcv.cnn.bricks import NonLocal2d

    theirs = randomise(NonLocal2d(16, **options)).double().eval()
    ours = NonLocal(16, **options).double().eval()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    x, y = (smooth_map(2, 16, 7, 5).requires_grad_() for _ in range(2))
    out, expected = ours(x), theirs(y)
    torch.testing.assert_close(out, expected)
    out.square().sum().backward()
    if options.get('mode') == 'concatenation':
        with pytest.raises(RuntimeError, match='modified by an inplace operation'):
            expected.square().sum().backward()  # the reason for our own computation
        return
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters()):
        torch.testing.assert_close(one.grad, other.grad, msg=name)


@pytest.mark.parametrize('norm_cfg', [None, dict(type='BN')])
def test_starts_as_identity_and_learns(norm_cfg):
    torch.manual_seed(0)
    block = NonLocal(16, norm_cfg=norm_cfg, start='identity')
    x = smooth_map(2, 16, 7, 5, dtype=torch.float32)
    assert block(x).equal(x)
    for _ in range(2):
        block.zero_grad()
        (block(x) * smooth_map(*x.shape, dtype=x.dtype, seed=3)).sum().backward()
        still = [name for name, p in block.named_parameters() if not p.grad.abs().sum() > 0]
        torch.optim.SGD(block.parameters(), 0.1).step()
    assert not [name for name in still if not name.endswith('bias')]


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode='softmax'; possible: 'embedded_gaussian', 'gaussian'"):
        NonLocal(16, mode='softmax')
