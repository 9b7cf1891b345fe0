"""All uses of a map at once, by plain formulas in float64, as an oracle for the joint backward pass."""

import torch

from mmattn import ops

USES = ('avg', 'max', 'stats', 'out')


def rounded(v, dtype):
    """As kept in ``dtype``, with the gradient of what was not rounded."""
    return v + (v.to(dtype).double() - v).detach()


def expected(x, channel, spatial, use):
    """What is made of a map, in float64: gates and products rounded to its dtype, sums exact."""
    dtype, x = x.dtype, x.double()
    product = x
    if channel is not None:
        product = rounded(x * rounded(channel.double(), dtype), dtype)
    made = dict(
        avg=x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3]),
        max=x.amax((2, 3), keepdim=True),
        stats=torch.cat([product.amax(1, keepdim=True), product.sum(1, keepdim=True) / x.shape[1]], 1),
    )
    made['out'] = product if spatial is None else rounded(product * rounded(spatial.double(), dtype), dtype)
    return {name: made[name] for name in use}


def computed(x, channel, spatial, use):
    """The same by ``mmattn.ops``."""
    made, lazy_map = {}, ops.lazy(x)
    if 'avg' in use and 'max' in use:
        made['avg'], made['max'] = ops.spatial_avg_max(lazy_map)
    elif 'avg' in use:
        made['avg'] = ops.spatial_avg(lazy_map)
    elif 'max' in use:
        made['max'] = ops.spatial_max(lazy_map)
    if channel is not None:
        lazy_map = ops.apply_gate(lazy_map, channel)
    if 'stats' in use:
        made['stats'] = ops.channel_stats(lazy_map)
    if 'out' in use:
        made['out'] = ops.materialize(lazy_map if spatial is None else ops.apply_gate(lazy_map, spatial))
    return made


def leaves(shape, dtype, layout, seed=0, exact=False):
    """A map and gates that need gradients. ``layout``: 'nchw', 'nhwc' or 'strided'.

    ``exact``: gates by which a product needs no rounding.
    """
    generator = torch.Generator().manual_seed(seed)
    n, c, h, w = shape
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    if layout == 'nhwc':
        x = x.to(memory_format=torch.channels_last)
    elif layout == 'strided':
        x = torch.stack([x, x], -1)[..., 0]
    small = torch.float64 if dtype == torch.float64 else torch.float32
    channel = torch.rand((n, c, 1, 1), generator=generator, dtype=torch.float64).to(small) + 0.25
    spatial = torch.rand((n, 1, h, w), generator=generator, dtype=torch.float64).to(small) + 0.25
    if exact:
        channel, spatial = (2.0 ** (4 * t).round().sub(3) for t in (channel, spatial))
    return [t.requires_grad_() for t in (x, channel, spatial)]


def gradients(made, inputs, dtype):
    """Those of a weighted sum of all that was made; weights are such as every dtype can keep."""
    generator = torch.Generator().manual_seed(5)
    total = 0
    for value in made.values():
        weight = torch.randint(-8, 9, value.shape, generator=generator).double() / 8
        total = total + (value * weight.to(value.dtype)).sum(dtype=torch.float64)
    return torch.autograd.grad(total, [t for t in inputs if t is not None], allow_unused=True)
