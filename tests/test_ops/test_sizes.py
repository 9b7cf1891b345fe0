"""Sizes as numbers, as tensors of torch.jit.trace, as symbols of torch.export."""

import warnings

import pytest
import torch

from mmattn import ops
from mmattn.ops import sizes


class Sizes(torch.nn.Module):
    def forward(self, x):
        groups = ops.static_size(x, 1) // 2
        split = ops.unflatten(x, 1, (groups, 2))
        return split.flatten(1, 2) / ops.degrees_of_freedom(x), ops.unflatten(x.flatten(2), 2, x.shape[2:])


def expected(x):
    return x / max(x.shape[2] * x.shape[3] - 1, 1), x


MAPS = [torch.randn(shape) for shape in ((2, 6, 4, 5), (3, 6, 7, 2), (1, 6, 1, 1), (0, 6, 3, 3))]


def test_of_numbers():
    for x in MAPS:
        torch.testing.assert_close(Sizes()(x), expected(x), rtol=0, atol=0)
    assert type(ops.degrees_of_freedom(MAPS[0])) is int and type(ops.static_size(MAPS[0], 1)) is int


def test_in_a_trace_they_are_not_constants_and_nothing_warns():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        traced = torch.jit.trace(Sizes(), MAPS[0])
    assert not [each for each in caught if issubclass(each.category, torch.jit.TracerWarning)]
    for x in MAPS:
        torch.testing.assert_close(traced(x), expected(x), rtol=0, atol=0)


@pytest.mark.slow
def test_in_an_exported_program_they_are_not_constants():
    dims = {axis: torch.export.Dim(name, min=1, max=64) for axis, name in {0: 'n', 2: 'h', 3: 'w'}.items()}
    program = torch.export.export(Sizes(), (MAPS[0],), dynamic_shapes=(dims,)).module()
    for x in MAPS[:3]:
        torch.testing.assert_close(program(x), expected(x), rtol=0, atol=0)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_in_a_trace_unflatten_is_pytorchs(layout, monkeypatch):
    monkeypatch.setattr(sizes, 'is_tracing', lambda: True)
    x = torch.randn(2, 6, 4, 5).contiguous(memory_format=layout).transpose(2, 3)
    ours, theirs = ops.unflatten(x, 1, (3, 2)), x.unflatten(1, (3, 2))
    assert ours.equal(theirs) and ours.stride() == theirs.stride() and ours.data_ptr() == x.data_ptr()
    with pytest.raises(RuntimeError, match='invalid for input of size'):
        ops.unflatten(x, 1, (4, 2))
