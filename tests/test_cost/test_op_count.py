"""Operations against formulas, against PyTorch's and MMEngine's counters, and however they are spelt."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmattn.cost import OP_CATEGORIES, CountOps


def counted(module, *shapes):
    inputs = [torch.rand(shape) for shape in shapes]
    with torch.no_grad(), CountOps(module) as counting:
        module(*inputs)
    return counting.count


class Spelt(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


@pytest.mark.parametrize(
    'module, shape, category, number',
    [
        (
            nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4, bias=False),
            (2, 8, 9, 7),
            'convolution',
            2 * 12 * 5 * 4 * 2 * 9,
        ),
        (
            nn.ConvTranspose2d(8, 12, 2, stride=2, bias=False),
            (2, 8, 5, 4),
            'convolution',
            2 * 8 * 5 * 4 * 12 * 4,
        ),
        (nn.Linear(6, 10, bias=False), (3, 6), 'linear', 3 * 60),
        (nn.Linear(6, 10), (3, 6), 'bias', 30),
        (nn.Conv2d(8, 12, 1), (2, 8, 5, 4), 'bias', 2 * 12 * 20),
        (nn.BatchNorm2d(8).eval(), (2, 8, 5, 4), 'norm', 2 * 2 * 8 * 20),
        (nn.LayerNorm(8), (2, 5, 8), 'norm', 2 * 80),
        (nn.GroupNorm(2, 8), (2, 8, 5, 4), 'norm', 2 * 2 * 8 * 20),
        (nn.ReLU(), (2, 8), 'activation', 16),
        (nn.ReLU(inplace=True), (2, 8), 'activation', 16),
        (nn.SiLU(), (2, 8), 'activation', 16),
        (nn.Hardsigmoid(), (2, 8), 'activation', 16),
        (nn.MaxPool2d(2), (2, 8, 6, 4), 'pooling', 2 * 8 * 24),
        (nn.Softmax(1), (2, 8), 'softmax', 48),
        (nn.Upsample(scale_factor=2), (2, 8, 5, 4), 'resizing', 2 * 8 * 80),
    ],
    ids=str,
)
def test_is_the_formula(module, shape, category, number):
    count = counted(module, shape)
    assert count.total([category]) == number and not count.not_counted
    if category not in ('bias',):
        assert count.total(set(OP_CATEGORIES) - {category}) == 0


@pytest.mark.parametrize(
    'pool',
    [
        lambda x: x.mean((2, 3)),
        lambda x: x.mean((2, 3), keepdim=True),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        nn.AdaptiveAvgPool2d(1),
        lambda x: F.adaptive_max_pool2d(x, 1),
        lambda x: x.amax((2, 3)),
        lambda x: F.avg_pool2d(x, (9, 7)),
        lambda x: x.flatten(2).max(2)[0],
        lambda x: x.sum((2, 3)),
    ],
)
def test_a_pooling_counts_alike_however_it_is_spelt(pool):
    assert counted(Spelt(pool), (2, 8, 9, 7)).by_category() == {
        **dict.fromkeys(OP_CATEGORIES, 0),
        'pooling': 2 * 8 * 63,
    }


@pytest.mark.parametrize(
    'gate',
    [
        lambda x, s: x * s.sigmoid(),
        lambda x, s: x.mul(torch.sigmoid(s)),
        lambda x, s: s.sigmoid().expand_as(x) * x,
        lambda x, s: x.mul_(F.sigmoid(s)),
    ],
)
def test_a_gate_counts_alike_however_it_is_spelt(gate):
    count = counted(Spelt(gate), (2, 8, 9, 7), (2, 8, 1, 1))
    assert count.by_category() == {
        **dict.fromkeys(OP_CATEGORIES, 0),
        'activation': 16,
        'elementwise': 2 * 8 * 63,
    }


def test_what_moves_numbers_is_free_and_what_is_unknown_is_named():
    moves = Spelt(
        lambda x: (
            torch.cat([x[:, :2].flatten(1), x.permute(1, 0, 2).reshape(3, -1).T.contiguous()[:2]], 1)
            .clone()
            .view(-1)
        )
    )
    count = counted(moves, (2, 3, 4))
    assert count.total() == 0 and not count.not_counted, count
    count = counted(Spelt(lambda x: x.sort()[0]), (3, 3))
    assert count.total() == 0 and dict(count.not_counted) == {'aten.sort': 1}


def test_agrees_with_the_counter_of_pytorch():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as theirs:
        module(torch.rand(2, 3, 16, 12))
    assert 2 * counted(module, (2, 3, 16, 12)).total(['convolution', 'linear']) == theirs.get_total_flops()


def test_agrees_with_mmengine_where_it_counts():
    from mmengine.analysis import FlopAnalyzer

    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 14 * 10, 5)).eval()
    x = torch.rand(1, 3, 16, 12)
    theirs = FlopAnalyzer(module, x).unsupported_ops_warnings(False).total()
    assert counted(module, (1, 3, 16, 12)).total(['convolution', 'linear']) == theirs


def test_is_told_apart_by_module_and_leaves_no_hook():
    inner = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU())
    module = nn.Sequential(inner, Spelt(lambda x: x + 1), nn.Conv2d(4, 2, 1, bias=False))
    count = counted(module, (1, 3, 5, 4))
    assert count.total(below='0') == 20 * 12 + 20 * 4 and count.total(below='0.0') == 20 * 12
    assert count.total(below='1') == 20 * 4 and count.total(below='2') == 20 * 8
    assert (
        count.total() == sum(count.by_category().values()) == sum(count.total(below=str(i)) for i in range(3))
    )
    from torch.nn.modules import module as globals_

    assert not globals_._global_forward_hooks and not globals_._global_forward_pre_hooks
    with pytest.raises(RuntimeError), CountOps(module):
        module(torch.rand(1, 9, 5, 4))
    assert not globals_._global_forward_hooks and not globals_._global_forward_pre_hooks
