"""A lazy map means what the map means, whatever is done with it."""

import copy
import random

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from mmattn import ops
from mmattn.blocks import CBAM, ECA, ESE, SE, ChannelAttention, SpatialAttention
from mmattn.ops.dispatch import missing_reason
from mmattn.ops.lazy_map import LazyMap
from tests.test_blocks.helpers import randomise, smooth_map

FASTER = ['aten', 'cpu', 'triton']
BLOCKS = [SE, ECA, ESE, ChannelAttention, SpatialAttention, CBAM]


@pytest.fixture(params=FASTER)
def backend(request):
    from mmattn.ops.dispatch import missing_reason

    if missing_reason(request.param):
        pytest.skip(missing_reason(request.param))
    return request.param


def both(function, backend, shape=(2, 6, 5, 4)):
    """Check output and gradients of ``function(x, channel, spatial)`` by a backend against plain PyTorch."""
    found = []
    for each in ('plain', backend):
        x = smooth_map(*shape, dtype=torch.float32).requires_grad_()
        channel = smooth_map(*shape[:2], 1, 1, dtype=torch.float32, seed=2).requires_grad_()
        spatial = smooth_map(shape[0], 1, *shape[2:], dtype=torch.float32, seed=3).requires_grad_()
        with ops.backend(each):
            out = function(x, channel, spatial)
        grads = torch.autograd.grad(
            (out * smooth_map(*out.shape, dtype=out.dtype, seed=4)).sum(),
            (x, channel, spatial),
            allow_unused=True,
        )
        found.append((out, *grads))
    for name, one, other in zip(('out', 'x', 'channel', 'spatial'), *found):
        assert (one is None) == (other is None), name
        if one is not None:
            torch.testing.assert_close(
                other, one, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}'
            )


def test_two_channel_gates_are_both_applied(backend):
    def function(x, channel, spatial):
        lazy_map = ops.apply_gate(ops.apply_gate(ops.lazy(x), channel), channel.sigmoid())
        return ops.materialize(lazy_map)

    both(function, backend)


def test_a_spatial_gate_then_a_channel_gate(backend):
    def function(x, channel, spatial):
        lazy_map = ops.apply_gate(ops.apply_gate(ops.lazy(x), spatial), channel)
        return ops.materialize(lazy_map)

    both(function, backend)


def test_gates_of_rows_and_of_groups(backend):
    def function(x, channel, spatial):
        lazy_map = ops.apply_gate(ops.lazy(x), spatial[..., :1].expand(-1, 6, -1, -1))
        return ops.materialize(ops.apply_gate(lazy_map, spatial.expand(-1, 3, -1, -1)))

    both(function, backend)


def test_a_gate_of_one_image_for_all(backend):
    both(lambda x, channel, spatial: ops.materialize(ops.apply_gate(ops.lazy(x), channel[:1])), backend)


def test_it_may_be_written_twice(backend):
    def function(x, channel, spatial):
        lazy_map = ops.lazy(x)
        return (
            ops.materialize(ops.apply_gate(lazy_map, channel))
            + ops.materialize(ops.apply_gate(lazy_map, spatial)) * 2
        )

    both(function, backend)


def test_statistics_of_two_products(backend):
    def function(x, channel, spatial):
        lazy_map = ops.lazy(x)
        one = ops.channel_stats(ops.apply_gate(lazy_map, channel))
        two = ops.channel_stats(ops.apply_gate(lazy_map, channel.sigmoid()))
        return ops.materialize(ops.apply_gate(ops.apply_gate(lazy_map, channel), one[:, :1])) * two[:, 1:]

    both(function, backend)


def test_statistics_of_one_product_and_the_map_times_another(backend):
    def function(x, channel, spatial):
        lazy_map = ops.lazy(x)
        stats = ops.channel_stats(ops.apply_gate(lazy_map, channel))
        return ops.materialize(ops.apply_gate(ops.apply_gate(lazy_map, channel.sigmoid()), stats[:, 1:]))

    both(function, backend)


def test_statistics_of_what_has_both_gates(backend):
    def function(x, channel, spatial):
        lazy_map = ops.apply_gate(ops.apply_gate(ops.lazy(x), channel), spatial)
        return ops.materialize(ops.apply_gate(lazy_map, ops.channel_stats(lazy_map)[:, :1]))

    both(function, backend)


def test_pooling_late_and_twice(backend):
    def function(x, channel, spatial):
        lazy_map = ops.lazy(x)
        stats = ops.channel_stats(lazy_map)
        gate = (
            ops.spatial_avg(lazy_map)
            + ops.spatial_max(lazy_map)
            + ops.spatial_avg(ops.apply_gate(lazy_map, channel))
        )
        return ops.materialize(ops.apply_gate(ops.apply_gate(lazy_map, gate), stats[:, 1:]))

    both(function, backend)


def test_the_map_is_used_elsewhere_too(backend):
    def function(x, channel, spatial):
        lazy_map = ops.lazy(x)
        return (
            x * x
            + ops.materialize(ops.apply_gate(lazy_map, channel * ops.spatial_avg(lazy_map)))
            + ops.materialize(lazy_map)
        )

    both(function, backend)


def test_only_gates_need_gradients(backend):
    def function(x, channel, spatial):
        lazy_map = ops.lazy(x.detach())
        stats = ops.channel_stats(ops.apply_gate(lazy_map, channel))
        return ops.materialize(ops.apply_gate(ops.apply_gate(lazy_map, channel), stats[:, 1:] * spatial))

    both(function, backend)


def test_only_the_map_needs_gradients(backend):
    def function(x, channel, spatial):
        lazy_map = ops.lazy(x)
        stats = ops.channel_stats(ops.apply_gate(lazy_map, channel.detach()))
        return ops.materialize(
            ops.apply_gate(ops.apply_gate(lazy_map, channel.detach()), stats[:, 1:].detach())
        )

    both(function, backend)


def test_a_gradient_that_is_not_dense(backend):
    """As behind a flip, or a sum over the output."""
    both(lambda x, channel, spatial: ops.materialize(ops.apply_gate(ops.lazy(x), channel)).flip(3), backend)
    both(
        lambda x, channel, spatial: ops.materialize(ops.apply_gate(ops.lazy(x), spatial)).sum((2, 3)), backend
    )


@pytest.mark.parametrize('block', BLOCKS)
def test_second_derivatives_are_refused_not_wrong(backend, block):
    module, x = randomise(block(16)), smooth_map(2, 16, 5, 4, dtype=torch.float32).requires_grad_()
    with ops.backend(backend):
        (g,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    with pytest.raises(
        RuntimeError, match='cannot be differentiated twice in this way; set MMATTN_OPS=plain'
    ):
        g.square().sum().backward()
    with ops.backend('plain'):
        (g,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    g.square().sum().backward()


@pytest.mark.parametrize('reentrant', [True, False])
@pytest.mark.parametrize('block', BLOCKS)
def test_activation_checkpointing_changes_nothing(backend, block, reentrant):
    module, x = randomise(block(16)), smooth_map(2, 16, 5, 4, dtype=torch.float32).requires_grad_()
    other, y = copy.deepcopy(module), x.detach().clone().requires_grad_()
    with ops.backend(backend):
        out, again = module(x), checkpoint(other, y, use_reentrant=reentrant)
        assert again.equal(out)
        weight = smooth_map(*x.shape, dtype=torch.float32, seed=2)
        (out * weight).sum().backward()
        (again * weight).sum().backward()
    assert y.grad.equal(x.grad)
    assert all(p.grad.equal(q.grad) for p, q in zip(module.parameters(), other.parameters()))


@pytest.mark.parametrize('block', BLOCKS)
def test_forward_mode_and_vmap_are_plain_pytorchs(block):
    module, x = randomise(block(16)).eval(), smooth_map(2, 16, 5, 4, dtype=torch.float32)
    tangent = smooth_map(2, 16, 5, 4, dtype=torch.float32, seed=2)
    _, slope = torch.func.jvp(module, (x,), (tangent,))
    step = 1e-3
    difference = (module(x + step * tangent) - module(x - step * tangent)) / (2 * step)
    torch.testing.assert_close(slope, difference, rtol=0.02, atol=0.02)
    torch.testing.assert_close(
        torch.func.vmap(module)(torch.stack([x, 2 * x])), torch.stack([module(x), module(2 * x)])
    )


def test_halves_of_cbam_that_are_watched_are_called(backend):
    block, x = randomise(CBAM(16)), smooth_map(2, 16, 5, 4, dtype=torch.float32)
    with ops.backend(backend):
        expected, seen = block.eval()(x), []
        handle = block.SpatialGate.register_forward_hook(lambda module, args, out: seen.append(args[0]))
        torch.testing.assert_close(block(x), expected)
        handle.remove()
    torch.testing.assert_close(seen[0], block.ChannelGate(x))


def test_a_subclass_that_computes_gates_in_its_own_way_gets_a_tensor(backend):
    class Own(SE):
        def gates(self, x):
            return {'channel': torch.sigmoid(x.std((2, 3), keepdim=True))}

    x = smooth_map(2, 16, 5, 4, dtype=torch.float32)
    with ops.backend(backend):
        torch.testing.assert_close(Own(16)(x), x * torch.sigmoid(x.std((2, 3), keepdim=True)))


def test_gates_without_a_graph_of_their_own(backend):
    """The first pass is made under no_grad; the map's gradient must come all the same."""

    def function(x, channel, spatial):
        lazy_map = ops.lazy(x)
        with torch.no_grad():
            gate, stats = torch.sigmoid(ops.spatial_avg(lazy_map)), ops.channel_stats(lazy_map)
        return ops.materialize(ops.apply_gate(ops.apply_gate(lazy_map, gate), stats[:, 1:]))

    both(function, backend)


def test_statistics_after_the_map_was_written(backend):
    def function(x, channel, spatial):
        lazy_map = ops.lazy(x)
        written = ops.materialize(ops.apply_gate(lazy_map, channel))
        return (
            written * ops.channel_stats(lazy_map)[:, :1]
            + ops.channel_stats(ops.apply_gate(lazy_map, channel.sigmoid()))[:, 1:]
        )

    both(function, backend)


def program(seed, x, channels, spatials):
    """A random use of a map: a scalar."""
    draw, maps, total = random.Random(seed), [ops.lazy(x)], 0.0
    for _ in range(draw.randint(2, 6)):
        lazy_map = draw.choice(maps)
        what = draw.choice(['avg', 'max', 'both', 'stats', 'materialize', 'gate', 'gate', 'gate'])
        if what == 'gate':
            maps.append(ops.apply_gate(lazy_map, draw.choice(channels + spatials)))
            continue
        made = dict(
            avg=ops.spatial_avg,
            max=ops.spatial_max,
            both=ops.spatial_avg_max,
            stats=ops.channel_stats,
            materialize=ops.materialize,
        )[what](lazy_map)
        for value in made if what == 'both' else [made]:
            if draw.random() < 0.8:
                total = (
                    total + (value * smooth_map(*value.shape, seed=draw.randrange(100), dtype=x.dtype)).sum()
                )
    out = ops.materialize(maps[-1])
    return total + (out * smooth_map(*out.shape, seed=7, dtype=x.dtype)).sum()


@pytest.mark.parametrize('backend', ['aten', 'cpu'])
@pytest.mark.parametrize('part', range(4))
def test_random_uses_agree_with_the_definitions(backend, part):
    from mmattn.ops.dispatch import missing_reason

    if missing_reason(backend):
        pytest.skip(missing_reason(backend))
    dtype, tolerance = (torch.float64, 1e-9) if backend == 'aten' else (torch.float32, 2e-4)
    for seed in range(75 * part, 75 * (part + 1)):
        draw, found = random.Random(1000 + seed), []
        n, c, h, w = draw.choice([(2, 6, 5, 4), (1, 1, 3, 3), (2, 1, 1, 1), (1, 5, 1, 1), (3, 4, 1, 7)])
        needed = [draw.random() < 0.85 for _ in range(5)]
        for each in ('plain', backend):
            shapes = [(n, c, h, w), *[(n, c, 1, 1)] * 2, *[(n, 1, h, w)] * 2]
            leaves = [
                smooth_map(*shape, seed=seed + i, dtype=dtype).requires_grad_(needed[i])
                for i, shape in enumerate(shapes)
            ]
            with ops.backend(each):
                total = program(seed, leaves[0], leaves[1:3], leaves[3:])
            wanted = [t for t in leaves if t.requires_grad]
            grads = torch.autograd.grad(total, wanted, allow_unused=True) if total.requires_grad else []
            found.append(
                [total.detach(), *(torch.zeros_like(t) if g is None else g for g, t in zip(grads, wanted))]
            )
        for one, other in zip(*found):
            torch.testing.assert_close(
                other,
                one,
                rtol=tolerance,
                atol=tolerance * 10,
                msg=lambda text, seed=seed: f'program {seed}: {text}',
            )


@pytest.mark.parametrize('block', [SE, CBAM])
def test_second_derivatives_with_constant_gradients_are_refused_too(backend, block):
    """Gates' parameters alone get gradients, where nothing that comes in requires a gradient."""
    module, weight = randomise(block(16)), torch.ones(16, 16, 1, 1, requires_grad=True)
    x = torch.nn.functional.conv2d(smooth_map(2, 16, 5, 4, dtype=torch.float32), weight)
    with ops.backend(backend):
        grads = torch.autograd.grad(module(x).sum(), list(module.parameters()), create_graph=True)
    with pytest.raises(
        RuntimeError, match='cannot be differentiated twice in this way; set MMATTN_OPS=plain'
    ):
        sum(g.square().sum() for g in grads).backward()


@pytest.mark.parametrize(
    'replace',
    [
        lambda half: type('Own', (ChannelAttention,), dict(forward=lambda self, x: x * 2))(16),
        lambda half: _with_forward(half),
    ],
    ids=['subclass', 'attribute'],
)
def test_a_half_of_cbam_with_a_forward_of_its_own_is_called(backend, replace):
    block, x = randomise(CBAM(16)).eval(), smooth_map(2, 16, 5, 4, dtype=torch.float32)
    block.ChannelGate = replace(block.ChannelGate)
    with ops.backend(backend):
        torch.testing.assert_close(block(x), block.SpatialGate(x * 2))


def _with_forward(half):
    half.forward = lambda x: x * 2
    return half


def test_gates_from_a_mixin_get_a_tensor(backend):
    class Mixin:
        def gates(self, x):
            return {'channel': torch.sigmoid(x.std((2, 3), keepdim=True))}

    class Own(Mixin, SE):
        pass

    class Renamed(SE):
        pass

    assert Renamed.supports_lazy_map and not Own.supports_lazy_map
    x = smooth_map(2, 16, 5, 4, dtype=torch.float32)
    with ops.backend(backend):
        torch.testing.assert_close(Own(16)(x), x * torch.sigmoid(x.std((2, 3), keepdim=True)))


def test_a_gate_elsewhere_is_pytorchs_error(backend):
    x = smooth_map(2, 16, 5, 4, dtype=torch.float32)
    with ops.backend(backend), pytest.raises((RuntimeError, NotImplementedError)):
        ops.materialize(ops.apply_gate(ops.lazy(x), torch.ones(2, 16, 1, 1, device='meta'))) + 0 * x


def test_a_negated_view_is_seen(backend):
    x = torch._neg_view(smooth_map(2, 16, 5, 4, dtype=torch.float32))
    with ops.backend(backend):
        torch.testing.assert_close(ops.spatial_avg(ops.lazy(x)), x.mean((2, 3), keepdim=True))


@pytest.fixture
def by_default(monkeypatch):
    """As where nobody asked for a backend."""
    monkeypatch.delenv('MMATTN_OPS', raising=False)
    if missing_reason('cpu'):
        pytest.skip(missing_reason('cpu'))


def test_small_maps_are_left_to_plain_pytorch(by_default):
    x = smooth_map(2, 16, 5, 4, dtype=torch.float32)
    assert ops.lazy(x, x.numel() + 1) is x
    assert isinstance(ops.lazy(x, x.numel()), LazyMap)
    assert isinstance(ops.lazy(x.bfloat16(), x.numel() + 1), LazyMap)
    for name in ('aten', 'cpu'):
        with ops.backend(name):
            assert isinstance(ops.lazy(x, x.numel() + 1), LazyMap)


@pytest.mark.parametrize('block', BLOCKS)
def test_a_block_has_the_same_values_on_either_side_of_its_limit(by_default, block, monkeypatch):
    x = smooth_map(2, 16, 5, 4, dtype=torch.float32).requires_grad_()
    module, found = randomise(block(16)), []
    for least in (0, x.numel() + 1):
        monkeypatch.setattr(block, 'lazy_from', (least, least))
        assert (module.lazy_map(x) is x) == bool(least)
        y = module(x)
        found.append((y, *torch.autograd.grad((y * y.detach().cos()).sum(), [x, *module.parameters()])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('block', BLOCKS)
def test_a_map_needs_to_be_larger_without_gradients(by_default, block):
    inference, training = block.lazy_from
    assert inference > training > 0
    x = torch.zeros(1, 16, training // 128, 8).requires_grad_()
    module = block(16)
    assert isinstance(module.lazy_map(x), LazyMap)
    with torch.no_grad():
        assert module.lazy_map(x) is x
