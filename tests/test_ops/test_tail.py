"""The tail of a residual block as one, against plain formulas in float64."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from mmattn import ops
from mmattn.ops import tail
from mmattn.ops.lazy_map import LazyMap
from mmattn.ops.tail import Norm, NormedUses, has_bits_of_steps, residual_tail, tail_reason

BACKENDS = ('cpu', 'aten')
# Pooling of the channel gate ('' for none); whether there is a spatial gate, and statistics for it.
USES = [
    ('', False, False),
    ('avg', False, False),
    ('max', False, False),
    ('avg max', False, False),
    ('', True, True),
    ('avg max', True, True),
    ('avg', True, True),
    ('', True, False),
]
SHAPES = [(2, 5, 7, 9), (1, 130, 33, 65), (3, 1, 1, 1)]


def leaves(shape, dtype):
    """z, identity, weight, bias, a matrix for the channel gate, a map for the spatial one; mean, variance."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*size):
        return torch.randn(size, generator=generator, dtype=torch.float64)

    n, c, h, w = shape
    maps = [drawn(*shape).to(dtype) for _ in range(2)]
    small = [drawn(c), drawn(c), drawn(c, c) / c**0.5, drawn(n, 1, h, w)]
    small[0][0] = -small[0][0].abs()  # a maximum of x is then a minimum of z
    return [*maps, *(t.float() for t in small)], [drawn(c).float(), drawn(c).exp().float()]


def gates_of(pooled, logits, matrix):
    return torch.sigmoid(pooled.flatten(1) @ matrix)[..., None, None], torch.sigmoid(logits)


def expected(tensors, statistics, normed, pooling, spatial, stats):
    z, identity, weight, bias, matrix, logits = tensors
    mean, var = (t.double() for t in statistics)
    x = z
    if normed:
        shape = (1, -1, 1, 1)
        x = (z - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt() * weight.view(shape) + bias.view(shape)
    y = x
    if pooling:
        pooled = sum({'avg': x.mean((2, 3)), 'max': x.amax((2, 3))}[each] for each in pooling.split())
        y = y * gates_of(pooled, logits, matrix)[0]
    if spatial:
        added = y.amax(1, keepdim=True) - y.mean(1, keepdim=True) if stats else 0
        y = y * torch.sigmoid(logits + added)
    return F.relu(y + identity)


def computed(tensors, statistics, normed, pooling, spatial, stats, backend='cpu'):
    z, identity, weight, bias, matrix, logits = tensors
    x = LazyMap(NormedUses(z, Norm(weight, bias, *statistics, 1e-5) if normed else None, backend))
    if pooling:
        pooled = dict(avg=ops.spatial_avg, max=ops.spatial_max).get(
            pooling, lambda x: sum(ops.spatial_avg_max(x))
        )
        x = ops.apply_gate(x, gates_of(pooled(x), logits, matrix)[0])
    if spatial:
        if stats:
            amax, mean = ops.channel_stats(x).split(1, 1)
            logits = logits + amax - mean
        x = ops.apply_gate(x, torch.sigmoid(logits))
    return residual_tail(x, identity)


def gradients(out, tensors):
    generator = torch.Generator().manual_seed(2)
    weight = torch.randint(-8, 9, out.shape, generator=generator).to(out.dtype) / 8
    wanted = [t for t in tensors if t.requires_grad]
    return torch.autograd.grad(out, wanted, weight, allow_unused=True)


def difference(found, wanted):
    return ((found.double() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-3)).item()


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('uses', USES)
def test_values_and_gradients_are_those_of_the_formula(backend, uses):
    for shape, normed, trained in itertools.product(SHAPES, (True, False), ('all', 'no norm', 'gates')):
        tensors, statistics = leaves(shape, torch.float32)
        exact = [t.double() for t in tensors]
        frozen = {'all': (), 'no norm': (2, 3), 'gates': (0, 1, 2, 3)}[trained]
        for i, (single, double) in enumerate(zip(tensors, exact)):
            single.requires_grad_(i not in frozen)
            double.requires_grad_(i not in frozen)
        want = expected(exact, statistics, normed, *uses)
        got = computed(tensors, statistics, normed, *uses, backend)
        assert difference(got, want) < 2e-5, (shape, normed)  # scale and shift cancel, as in PyTorch
        if not want.requires_grad:
            assert not got.requires_grad
            continue
        for found, each in zip(gradients(got, tensors), gradients(want, exact)):
            assert (found is None) == (each is None), (shape, normed, trained)
            assert found is None or difference(found, each) < 4e-5, (shape, normed, trained)


@pytest.mark.parametrize('uses', USES)
def test_bfloat16_is_rounded_where_the_steps_round_it(uses):
    tensors, statistics = leaves((2, 33, 9, 11), torch.bfloat16)
    for each in tensors:
        each.requires_grad_()
    z, identity, weight, bias, *rest = tensors
    got = computed(tensors, statistics, True, *uses)
    with ops.backend('plain'):
        x = F.batch_norm(z, *statistics, weight, bias, False, 0.0, 1e-5)
        steps = computed([x, identity, weight, bias, *rest], statistics, False, *uses, 'aten')
    assert difference(got, steps.double()) < 2**-7
    for found, each in zip(gradients(got, tensors), gradients(steps, tensors)):
        assert (found is None) == (each is None)
        assert found is None or difference(found, each.double()) < 0.03


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


def test_in_place_only_where_nothing_is_differentiated():
    tensors, statistics = leaves((2, 5, 7, 9), torch.float32)
    norm = Norm(tensors[2], tensors[3], *statistics, 1e-5)
    z = tensors[0].clone()
    kept = residual_tail(LazyMap(NormedUses(z, norm, 'cpu')), tensors[1], in_place=True)
    assert kept.data_ptr() != z.data_ptr() and torch.equal(z, tensors[0])
    with torch.no_grad():
        made = residual_tail(LazyMap(NormedUses(z, norm, 'cpu')), tensors[1], in_place=True)
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
        return t

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


def test_reasons(monkeypatch):
    z = torch.zeros(1, 2, 3, 4)
    assert tail_reason(z, z, True) == ''
    assert 'differs' in tail_reason(z, z.bfloat16(), True)
    assert 'differs' in tail_reason(z, z[:, :1], True)
    wide = torch.zeros(1, 8, 3, 4).to(memory_format=torch.channels_last)
    assert tail_reason(wide, wide, True)
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
