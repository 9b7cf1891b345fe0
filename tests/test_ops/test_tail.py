"""The tail of a residual block as one, against plain formulas in float64."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from mmattn import ops
from mmattn.ops import dispatch, tail
from mmattn.ops.backends import aten_tail
from mmattn.ops.backends.base import Gates
from mmattn.ops.lazy_map import LazyMap
from mmattn.ops.tail import Norm, NormedUses, has_bits_of_steps, residual_tail, tail_reason
from tests.test_ops.tail_oracle import (
    LAYOUTS,
    USES,
    check,
    check_that_maxima_are_found_again,
    computed,
    difference,
    difference_on_the_whole,
    gradients,
    laid_out,
    leaves,
)

BACKENDS = ('cpu', 'aten', 'triton')
SHAPES = [(2, 5, 7, 9), (1, 130, 33, 65), (3, 1, 1, 1)]
MANY_TILES = (2, 130, 9, 65)  # for Triton: several tiles along both axes, and programs that share a tile


def require(backend):
    missing = dispatch.missing_reason(backend)
    if missing:
        pytest.skip(missing)


@pytest.mark.parametrize('backend', ['cpu', 'aten', pytest.param('triton', marks=pytest.mark.slow)])
@pytest.mark.parametrize('uses', USES)
def test_values_and_gradients_are_those_of_the_formula(backend, uses):
    require(backend)
    for shape, normed, trained in itertools.product(SHAPES, (True, False), ('all', 'no norm', 'gates')):
        check(backend, shape, normed, trained, uses)


@pytest.mark.parametrize('uses', USES)
def test_triton_on_small_maps_of_both_layouts(uses):
    require('triton')
    for shape, layout in [(SHAPES[0], torch.channels_last), (SHAPES[2], torch.contiguous_format)]:
        check('triton', shape, True, 'all', uses, layout=layout)
    check('triton', SHAPES[0], True, 'gates', uses)
    check('triton', SHAPES[0], False, 'all', uses, torch.float64)
    check('triton', SHAPES[0], True, 'no norm', uses, torch.float64, torch.channels_last)


@pytest.mark.parametrize(
    'layout', [LAYOUTS[0], pytest.param(LAYOUTS[1], marks=pytest.mark.slow)], ids=['nchw', 'nhwc']
)
@pytest.mark.parametrize('uses', [('avg', False, False), ('avg max', True, True)], ids=['SE', 'CBAM'])
def test_triton_puts_many_tiles_together(uses, layout):
    require('triton')
    check('triton', MANY_TILES, True, 'all', uses, layout=layout)


@pytest.mark.parametrize('layout', LAYOUTS, ids=['nchw', 'nhwc'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_maxima_are_found_again(dtype, layout):
    require('triton')
    check_that_maxima_are_found_again('triton', (33, 9, 15), dtype, layout)


@pytest.mark.parametrize('uses', USES)
@pytest.mark.parametrize(
    'backend, dtype, layout',
    [
        ('cpu', torch.bfloat16, torch.contiguous_format),
        ('triton', torch.float16, torch.contiguous_format),
        ('triton', torch.float16, torch.channels_last),
    ],
    ids=['cpu-bf16', 'triton-fp16-nchw', 'triton-fp16-nhwc'],
)
def test_half_precision_is_rounded_where_the_steps_round_it(backend, dtype, layout, uses):
    require(backend)
    (got, found), (steps, wanted) = tail_and_steps(backend, dtype, layout, uses)
    assert difference(got, steps.double()) < 2**-7
    for one, other in zip(found, wanted):
        assert (one is None) == (other is None)
        assert one is None or difference(one, other.double()) < 0.03


@pytest.mark.parametrize('layout', LAYOUTS, ids=['nchw', 'nhwc'])
@pytest.mark.parametrize('uses', [('', False, False), ('avg', False, False), ('avg', True, False)])
def test_triton_in_bfloat16(uses, layout):
    require('triton')
    measure, shape = difference_on_the_whole, (2, 33, 9, 11)
    check('triton', shape, True, 'all', uses, torch.bfloat16, layout, measure=measure, tolerance=0.05)


def tail_and_steps(backend, dtype, layout, uses):
    """Values and gradients of the tail as one, and of PyTorch's norm and the steps after it."""
    tensors, statistics = leaves((2, 33, 9, 11), dtype)
    tensors = [t.detach().requires_grad_() for t in laid_out(tensors, layout)]
    z, identity, weight, bias, *rest = tensors
    got = computed(tensors, statistics, True, *uses, backend)
    with ops.backend('plain'):
        x = F.batch_norm(z, *statistics, weight, bias, False, 0.0, 1e-5)
        steps = computed([x, identity, weight, bias, *rest], statistics, False, *uses, 'aten')
    return (got, gradients(got, tensors)), (steps, gradients(steps, tensors))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_without_gates_every_bit_is_that_of_the_steps(dtype):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        c, h, w = (int(torch.randint(1, high, (), generator=generator)) for high in (200, 40, 40))
        z, identity = (torch.randn(2, c, h, w, generator=generator).to(dtype) for _ in range(2))
        weight, bias, mean, var = torch.randn(4, c, generator=generator)
        norm = Norm(weight, bias, mean, var.exp() * 10.0 ** -(seed % 7), 1e-5)
        identity[0, 0, 0, 0] = float('nan')
        z[0, 0] = 0
        with torch.no_grad():
            steps = F.relu(norm(z) + identity)
            made = residual_tail(LazyMap(NormedUses(z, norm, 'cpu')), identity)
        assert torch.equal(made.nan_to_num(7), steps.nan_to_num(7))
        assert torch.equal(torch.signbit(made.nan_to_num(7)), torch.signbit(steps.nan_to_num(7)))
    assert has_bits_of_steps('cpu', dtype, torch.device('cpu'))


@pytest.mark.parametrize('backend', BACKENDS)
def test_in_place_only_where_nothing_is_differentiated(backend):
    require(backend)
    tensors, statistics = leaves((2, 5, 7, 9), torch.float32)
    norm = Norm(tensors[2], tensors[3], *statistics, 1e-5)
    z = tensors[0].clone()
    kept = residual_tail(LazyMap(NormedUses(z, norm, backend)), tensors[1], in_place=True)
    assert kept.data_ptr() != z.data_ptr() and torch.equal(z, tensors[0])
    with torch.no_grad():
        made = residual_tail(LazyMap(NormedUses(z, norm, backend)), tensors[1], in_place=True)
    assert made.data_ptr() == z.data_ptr() and torch.equal(made, kept)


def test_what_no_pass_can_do_is_done_by_the_definitions():
    tensors, statistics = leaves((2, 6, 7, 9), torch.float32)
    exact = [t.double().requires_grad_() for t in tensors]
    for each in tensors:
        each.requires_grad_()
    results = []
    for z, identity, weight, bias, _, logits in (tensors, exact):
        norm = Norm(weight, bias, *(t.to(weight.dtype) for t in statistics), 1e-5)
        single = z.dtype == torch.float32
        x = LazyMap(NormedUses(z, norm, 'cpu')) if single else norm(z)
        with ops.backend('plain'):
            before = ops.channel_stats(x)  # under no gate, then under one: two channel gates
            y = ops.apply_gate(x, torch.sigmoid(ops.spatial_avg(x)))
            after = ops.channel_stats(y)
            y = ops.apply_gate(y, torch.sigmoid(logits + before[:, :1] + after[:, 1:]))
        results.append(residual_tail(y, identity) if single else F.relu(y + identity))
    assert difference(*results) < 1e-5
    for found, each in zip(gradients(results[0], tensors), gradients(results[1], exact)):
        assert (found is None) == (each is None)
        assert found is None or difference(found, each) < 2e-5


def test_what_is_kept_is_what_the_steps_keep():
    tensors, statistics = leaves((1, 64, 32, 32), torch.float32)
    tensors = [t.requires_grad_() for t in tensors]
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t.detach()  # not what its own step keeps: that would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = computed(tensors, statistics, True, 'avg max', True, True)
    size = out.numel() * 4
    assert sum(nbytes >= size for nbytes in kept.values()) == 2  # z and the output
    assert {tensors[0].data_ptr(), out.data_ptr()} < set(kept)


def test_the_second_derivative_is_refused():
    tensors, statistics = leaves((1, 3, 4, 4), torch.float32)
    tensors = [t.requires_grad_() for t in tensors]
    out = computed(tensors, statistics, True, 'avg', False, False)
    (dz,) = torch.autograd.grad(out.sum(), tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match='differentiated twice'):
        dz.sum().backward()


def test_not_a_number_stays_and_minus_zero_does_not():
    require('triton')
    z, identity = torch.zeros(2, 1, 3, 2, 2)
    z[0, 0, 0, 0], identity[0, 1, 0, 0] = float('nan'), float('-inf')
    z[0, 2] = identity[0, 2] = -0.0
    out = dispatch.run_tail('tail', 'triton', z, None, Gates(None, None), identity, False)
    want = F.relu(z + identity)
    assert torch.equal(out.isnan(), want.isnan()) and torch.equal(out.nan_to_num(7), want.nan_to_num(7))
    assert not torch.signbit(out.nan_to_num(7)).any()


def test_aten_computes_once_triton_has_failed(monkeypatch):
    require('triton')
    from mmattn.ops.backends import triton

    def fail(*args):
        raise AssertionError('called again')

    (z, identity, weight, bias, *_), statistics = leaves((2, 5, 7, 9), torch.float32)
    monkeypatch.setattr(triton, '_given_up', 'it failed')
    monkeypatch.setattr(dispatch._tail_module('triton'), 'tail', fail)
    affine = aten_tail.norm_affine(z, (weight, bias, *statistics, 1e-5))
    arguments = (z, affine, Gates(None, None), identity, False)
    assert torch.equal(dispatch.run_tail('tail', 'triton', *arguments), aten_tail.tail(*arguments))


def test_triton_takes_both_layouts():
    require('triton')
    z = torch.zeros(1, 8, 3, 4)
    wide = z.to(memory_format=torch.channels_last)
    with ops.backend('triton'):
        assert tail_reason(z, z, False) == tail_reason(wide, wide, False) == ''
        assert 'layout' in tail_reason(z, wide, False) and 'layout' in tail_reason(wide, z, False)
        for layout in LAYOUTS:
            assert has_bits_of_steps('triton', torch.float32, z.device, layout) in (True, False)


def test_reasons(monkeypatch):
    z = torch.zeros(1, 2, 3, 4)
    assert tail_reason(z, z, True) == ''
    assert 'differs' in tail_reason(z, z.bfloat16(), True)
    assert 'differs' in tail_reason(z, z[:, :1], True)
    narrow = torch.zeros(1, 8, 3, 4)
    wide = narrow.to(memory_format=torch.channels_last)
    assert 'aten' in tail_reason(wide, wide, True)
    assert 'layout' in tail_reason(narrow, wide, True)
    assert 'plain' in tail_reason(z.double()[..., :2], z.double()[..., :2], True)
    for name in ('plain', 'aten'):
        with ops.backend(name):
            assert name in tail_reason(z, z, True)
    monkeypatch.setattr(tail, 'has_bits_of_steps', lambda *_: False)
    assert 'bits' in tail_reason(z, z, True) and not tail_reason(z, z, False)
    monkeypatch.setenv('MMATTN_TAIL', 'on')
    assert tail_reason(z, z, True) == ''
    monkeypatch.setenv('MMATTN_TAIL', 'off')
    assert tail_reason(z, z, False) == 'MMATTN_TAIL=off'
    monkeypatch.setenv('MMATTN_TAIL', 'fast')
    with pytest.raises(ValueError, match="MMATTN_TAIL='fast'; possible: 'auto', 'on', 'off'"):
        tail_reason(z, z, False)
