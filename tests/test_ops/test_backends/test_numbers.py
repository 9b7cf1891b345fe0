"""Every backend against formulas in float64: values, and gradients of the map and of both gates."""

from itertools import product

import pytest
import torch

from mmattn import ops
from tests.test_ops.oracle import computed, expected, gradients, leaves

# Of each dtype the relative error allowed, and why. Half precision: a product is rounded to it once for each
# gate, and a gradient once: 2 units in the last place. Triton's interpreter cuts bf16 off where everything
# else rounds, so that it gets gates by which a product is exact. fp32: sums over some thousand values in
# another order.
TOLERANCES = {torch.float64: 1e-11, torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
SIZES = [(2, 3, 7, 129), (1, 65, 7, 7), (3, 1, 1, 7), (2, 65, 1, 1), (1, 3, 129, 1), (2, 32, 16, 10)]
MANY = [*SIZES, (1, 65, 129, 129), (2, 300, 33, 40), (1, 1024, 3, 3), (2, 256, 64, 66)]
SUBSETS = [
    ('avg',),
    ('max',),
    ('avg', 'max'),
    ('stats',),
    ('out',),
    ('avg', 'out'),
    ('max', 'out'),
    ('stats', 'out'),
    ('avg', 'max', 'stats', 'out'),
]
BACKENDS = ['plain', 'aten', 'cpu', 'triton']


@pytest.fixture(params=BACKENDS)
def backend(request):
    from mmattn.ops.dispatch import missing_reason

    if missing_reason(request.param):
        pytest.skip(missing_reason(request.param))
    with ops.backend(request.param):
        yield request.param


def check(shape, dtype, layout, gates, use, backend):
    x, channel, spatial = leaves(shape, dtype, layout, exact=backend == 'triton' and dtype == torch.bfloat16)
    inputs = [x, channel if 'c' in gates else None, spatial if 's' in gates else None]
    made, right = computed(*inputs, use), expected(*inputs, use)
    tolerance = TOLERANCES[dtype]
    for name in use:
        assert made[name].dtype == (dtype if name == 'out' else channel.dtype)
        torch.testing.assert_close(
            made[name].double(),
            right[name],
            rtol=tolerance,
            atol=tolerance,
            msg=lambda text, name=name: f'{name}: {text}',
        )
    if layout == 'nhwc' and 'out' in use:
        assert made['out'].is_contiguous(memory_format=torch.channels_last)
    got, want = gradients(made, inputs, dtype), gradients(right, inputs, dtype)
    for name, one, other in zip(
        [n for n, t in zip(['x', 'channel', 'spatial'], inputs) if t is not None], got, want
    ):
        assert (one is None) == (other is None), name
        if one is not None:
            scale = max(other.abs().max().item(), 1.0)
            torch.testing.assert_close(
                one.double() / scale,
                other.double() / scale,
                rtol=0,
                atol=tolerance,
                msg=lambda text, name=name: f'gradient of {name}: {text}',
            )


@pytest.mark.parametrize('layout', ['nchw', 'nhwc', 'strided'])
@pytest.mark.parametrize('dtype', TOLERANCES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize('shape', SIZES, ids=str)
def test_all_uses_of_a_map(backend, shape, dtype, layout):
    check(shape, dtype, layout, 'cs', ('avg', 'max', 'stats', 'out'), backend)


@pytest.mark.parametrize('gates', ['', 'c', 's', 'cs'])
@pytest.mark.parametrize('use', SUBSETS, ids='+'.join)
def test_some_uses_of_a_map(backend, use, gates):
    for dtype in (torch.float32, torch.float16):
        check((2, 17, 5, 6), dtype, 'nchw', gates, use, backend)


@pytest.mark.slow
@pytest.mark.parametrize('shape', MANY, ids=str)
def test_larger_maps_agree(backend, shape):
    for dtype, layout in product(TOLERANCES, ['nchw', 'nhwc']):
        check(shape, dtype, layout, 'cs', ('avg', 'max', 'stats', 'out'), backend)


@pytest.mark.parametrize('shape', [(0, 3, 4, 5), (2, 3, 0, 5), (2, 0, 4, 5)], ids=str)
def test_empty_maps_keep_their_shape(backend, shape):
    x, channel, spatial = leaves(shape, torch.float32, 'nchw')
    out = computed(x, channel, spatial, ('out',))['out']
    assert out.shape == shape
    assert all(
        g.shape == t.shape
        for g, t in zip(torch.autograd.grad(out.sum(), (x, channel, spatial)), (x, channel, spatial))
    )


@pytest.mark.parametrize('layout', ['nchw', pytest.param('nhwc', marks=pytest.mark.slow)])
def test_gradients_agree_with_finite_differences(backend, layout):
    inputs = leaves((2, 3, 2, 3), torch.float64, layout)

    def f(*inputs):
        return tuple(computed(*inputs, ('avg', 'max', 'stats', 'out')).values())

    assert torch.autograd.gradcheck(f, inputs)


@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
def test_equal_maxima_share_their_gradient(backend, layout):
    x = torch.zeros(2, 4, 3, 5)
    x[:, :, 0, :2] = 1.0  # two of each channel; all channels of two positions
    x = x.to(
        memory_format=torch.channels_last if layout == 'nhwc' else torch.contiguous_format
    ).requires_grad_()
    made = computed(x, None, None, ('max', 'stats'))
    (of_max,) = torch.autograd.grad(made['max'].sum(), x, retain_graph=True)
    assert of_max.equal(0.5 * x.detach())
    (of_stats,) = torch.autograd.grad(made['stats'][:, 0].sum(), x)
    assert of_stats.equal(torch.full_like(x, 0.25))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_not_finite_values_are_not_hidden(backend, value):
    x = torch.randn(2, 3, 20, 7)
    x[0, 1, 2, 3] = value
    if value < 0:
        x[0, 1] = value
    made, right = (f(x, None, None, ('avg', 'max', 'stats')) for f in (computed, expected))
    for name in made:
        torch.testing.assert_close(made[name].double(), right[name], rtol=1e-5, atol=1e-5, equal_nan=True)


def test_a_map_of_the_lowest_value_has_as_many_maxima_as_elements(backend):
    x = torch.full((1, 2, 5, 7), -float('inf')).requires_grad_()
    (g,) = torch.autograd.grad(ops.spatial_max(ops.lazy(x)).sum(), x)
    torch.testing.assert_close(g, torch.full_like(x, 1 / 35))


def test_gates_in_half_precision(backend):
    """Those of a model that was converted: their gradients come in their dtype."""
    x, channel, spatial = leaves((2, 5, 4, 3), torch.float16, 'nchw')
    channel, spatial = (t.detach().half().requires_grad_() for t in (channel, spatial))
    out = computed(x, channel, spatial, ('out',))['out']
    grads = torch.autograd.grad(out.float().sum(), (x, channel, spatial))
    assert [g.dtype for g in grads] == [torch.float16] * 3
    torch.testing.assert_close(
        out.double(), expected(x, channel, spatial, ('out',))['out'], rtol=2e-3, atol=2e-3
    )


def test_the_same_every_time(backend):
    inputs = leaves((2, 65, 9, 33), torch.float32, 'nchw')
    use = ('avg', 'max', 'stats', 'out')
    first, second = (computed(*inputs, use) for _ in range(2))
    assert all(first[name].equal(second[name]) for name in use)
    assert all(a.equal(b) for a, b in zip(*(gradients(m, inputs, torch.float32) for m in (first, second))))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize('shape', [(2, 64, 64, 40), (1, 2048, 7, 5), (2, 9, 64, 66)], ids=str)
def test_the_number_of_threads_makes_no_difference(shape, dtype):
    """Also with more threads than there are cores, or jobs."""
    from mmattn.ops.dispatch import missing_reason

    if missing_reason('cpu'):
        pytest.skip(missing_reason('cpu'))
    inputs = leaves(shape, dtype, 'nchw')
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 16):
            torch.set_num_threads(threads)
            with ops.backend('cpu'):
                made = [
                    computed(x, channel, spatial, use)
                    for x, channel, spatial, use in [
                        (*inputs, ('avg', 'max', 'stats', 'out')),
                        (*inputs[:2], None, ('avg', 'out')),
                    ]
                ]
            found.append([t for each in made for t in (*each.values(), *gradients(each, inputs, dtype))])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(a is b or a.equal(b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    'backend, dtype, layout', [('cpu', torch.float32, 'nchw'), ('aten', torch.bfloat16, 'nhwc')]
)
def test_maps_above_two_gigabytes(backend, dtype, layout):
    """2^31 bytes and more: what lies behind them is right, in value and gradient."""
    side = 6400 if dtype == torch.float32 else 9000
    x = torch.zeros(1, 14, side, side, dtype=dtype)
    if layout == 'nhwc':
        x = x.contiguous(memory_format=torch.channels_last)
    assert x.numel() * x.element_size() > 2**31
    x[0, -1, -1, -1] = 3.0
    x.requires_grad_()
    channel = torch.full((1, 14, 1, 1), 0.5)
    with ops.backend(backend):
        lazy_map = ops.lazy(x)
        avg, amax = ops.spatial_avg_max(lazy_map)
        out = ops.materialize(ops.apply_gate(lazy_map, channel))
        assert out[0, -1, -1, -1] == 1.5 and amax[0, -1] == 3 and amax[0, 0] == 0
        torch.testing.assert_close(avg[0, -1].item(), 3 / side**2)
        (g,) = torch.autograd.grad(amax.sum() + out[0, -1, -1, -1].float(), x)
    assert g[0, -1, -1, -1] == 1.5 and g[0, -1, 0, 0] == 0
