"""The tail of a residual block by plain formulas in float64, and by ``mmattn.ops``."""

import torch
import torch.nn.functional as F

from mmattn import ops
from mmattn.ops.backends.base import MapGrads, Stats
from mmattn.ops.dispatch import run_tail
from mmattn.ops.lazy_map import LazyMap
from mmattn.ops.tail import Norm, NormedUses, residual_tail

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
LAYOUTS = (torch.contiguous_format, torch.channels_last)


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
    weight = torch.randint(-8, 9, out.shape, generator=generator).to(out) / 8
    wanted = [t for t in tensors if t.requires_grad]
    return torch.autograd.grad(out, wanted, weight, allow_unused=True)


def difference(found, wanted):
    return ((found.double() - wanted).abs().max() / wanted.abs().max().clamp(min=1e-3)).item()


def difference_on_the_whole(found, wanted):
    """By norms: an element on the other side of the ReLU's edge, by a rounding, is no mistake."""
    return ((found.double() - wanted).norm() / wanted.norm().clamp(min=1e-3)).item()


def laid_out(tensors, layout):
    return [t.contiguous(memory_format=layout) if t.dim() == 4 else t for t in tensors]


def check(
    backend,
    shape,
    normed,
    trained,
    uses,
    dtype=torch.float32,
    layout=torch.contiguous_format,
    device='cpu',
    measure=difference,
    tolerance=None,
):
    """Compare with the formula in float64, whose results are not rounded on the way."""
    tensors, statistics = leaves(shape, dtype)
    small = torch.float64 if dtype == torch.float64 else torch.float32
    tensors = [t.to(device, dtype if i < 2 else small) for i, t in enumerate(tensors)]
    tensors, statistics = laid_out(tensors, layout), [t.to(device, small) for t in statistics]
    exact = [t.double() for t in tensors]
    frozen = {'all': (), 'no norm': (2, 3), 'gates': (0, 1, 2, 3)}[trained]
    for i, (own, double) in enumerate(zip(tensors, exact)):
        own.requires_grad_(i not in frozen)
        double.detach_().requires_grad_(i not in frozen)
    want = expected(exact, statistics, normed, *uses)
    got = computed(tensors, statistics, normed, *uses, backend)
    case = (shape, normed, trained, uses, dtype, layout)
    tolerance = tolerance or {torch.float32: 2e-5, torch.float64: 1e-10}[dtype]
    assert measure(got, want) < tolerance, case  # scale and shift cancel, as in PyTorch
    assert got.is_contiguous(memory_format=layout)
    if not want.requires_grad:
        assert not got.requires_grad
        return
    for found, each in zip(gradients(got, tensors), gradients(want, exact)):
        assert (found is None) == (each is None), case
        assert found is None or measure(found, each) < 2 * tolerance, case


def check_that_maxima_are_found_again(backend, shape, dtype, layout, device='cpu'):
    """A kernel that rounds otherwise than the one before finds no maximum, and its gradient is lost."""
    (z, _, weight, bias, *_), statistics = leaves((1, *shape), dtype)
    (z,) = laid_out([z.to(device)], layout)
    small = torch.float64 if dtype == torch.float64 else torch.float32
    norm = Norm(*(t.to(device, small) for t in (weight, bias, *statistics)), 1e-5)
    affine = run_tail('norm_affine', backend, z, norm)
    (_, amax, ties), _ = run_tail('pool', backend, z, affine, True)
    # What is shared by several maxima, or is a product, is rounded to the map's dtype by some backends.
    tolerance = {torch.float16: 2**-10, torch.bfloat16: 2**-7}.get(dtype, 1e-5)
    grads = MapGrads(damax=torch.ones_like(amax), amax=amax, ties=ties)
    _, (sums, _) = run_tail('map_backward', backend, z, affine, grads, True)
    assert (sums - 1).abs().max() <= tolerance

    c, h, w = shape
    gate = (torch.arange(c, device=device) % 7 + 0.7).to(dtype).to(small).view(1, c, 1, 1)
    stats, ties = run_tail('stats', backend, z, affine, gate)
    dstats = torch.cat([torch.ones_like(ties), torch.zeros_like(ties)], 1)
    grads = MapGrads(channel=gate, dstats=dstats, stats=stats, stats_ties=ties)
    _, (sums, _) = run_tail('map_backward', backend, z, affine, grads, True)
    assert abs((sums / gate.flatten()).sum().item() / (h * w) - 1) <= tolerance
    dgate = run_tail('stats_backward', backend, z, affine, gate, dstats, Stats(stats, ties))
    amax_sum = stats[:, 0].double().sum().item()
    scale = stats[:, 0].double().abs().sum().item()
    assert abs((dgate * gate).double().sum().item() - amax_sum) <= tolerance * scale
