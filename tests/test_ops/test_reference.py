import subprocess
import sys

import pytest
import torch

from mmattn import ops


def test_half_precision_is_accumulated_in_fp32():
    x = torch.full((1, 2, 100, 100), 3e4, dtype=torch.float16)
    assert ops.spatial_avg(x).dtype == torch.float32
    assert ops.spatial_avg(x).flatten().tolist() == [x[0, 0, 0, 0].item()] * 2
    ones = torch.ones(1, 4096, 2, 2, dtype=torch.bfloat16)
    assert (ops.channel_stats(ones) == 1).all()


def test_double_stays_double():
    x = torch.rand(1, 2, 3, 4, dtype=torch.float64)
    assert ops.spatial_avg(x).dtype == ops.spatial_max(x).dtype == torch.float64
    assert ops.channel_stats(x).dtype == torch.float64


def test_channel_stats_are_maximum_then_mean():
    x = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
    assert ops.channel_stats(x).flatten().tolist() == [6.0, 3.0]


def test_equal_maxima_share_the_gradient():
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    ops.spatial_max(x).sum().backward()
    assert x.grad.flatten().tolist() == [0.25] * 4


def test_a_gate_with_ceiling_two_is_exactly_one_at_zero():
    zero = torch.zeros(3)
    assert (ops.sigmoid_gate(zero) == 0.5).all()
    assert (ops.sigmoid_gate(zero, 2.0) == 1).all()


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_a_gate_of_groups_is_for_successive_channels(memory_format):
    x = torch.randn(2, 6, 5, 3).to(memory_format=memory_format)
    gate = torch.rand(2, 3, 5, 3)
    out = ops.apply_gate(x, gate)
    for c in range(6):
        assert out[:, c].equal(x[:, c] * gate[:, c // 2])
    assert out.is_contiguous(memory_format=memory_format)
    assert ops.apply_gate(x[:0], gate[:0]).shape == (0, 6, 5, 3)


def test_ops_and_blocks_import_without_mmdet_and_mmcv():
    code = (
        'import sys; sys.modules.update(mmdet=None, mmcv=None); import mmattn.ops; '
        'from mmattn.blocks import SE; from mmattn.registry import MODELS; print(SE(64))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith('SE('), done.stderr
