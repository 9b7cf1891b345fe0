"""The backend of Triton kernels: any dtype, NCHW or channels_last, on a GPU or by Triton's interpreter.

Tiles and splits follow from sizes and layout alone, so that a result does not depend on the device; there are
no atomics, so that it does not depend on the run. Nothing is tuned while a model trains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mmattn.ops.backends.base import Gates, MapGrads, Pooled, Stats
from mmattn.ops.precision import accurate_dtype

TILE = 2048
"""Elements of a map that a program reads at once."""
WIDTH = 128
"""Tile width along the contiguous axis."""
PROGRAMS = 1024
"""Target number of programs: a few for each multiprocessor, if the map is large enough."""

_given_up = ''


@lru_cache(None)
def _imported():
    """The kernels and Triton, or why they cannot be imported."""
    try:
        import triton

        from mmattn.ops.backends.triton import kernels
    except Exception as error:  # a broken Triton fails in many ways
        return None, None, f'Triton cannot be imported: {type(error).__name__}: {error}'
    return kernels, triton, ''


def is_interpreted() -> bool:
    """True if kernels run on the CPU, as the environment variable ``TRITON_INTERPRET=1`` asks."""
    kernels, triton, _ = _imported()
    return kernels is not None and not isinstance(kernels.apply_gates, triton.runtime.JITFunction)


def missing_reason() -> str:
    """Why this machine cannot run the kernels; empty if it can."""
    reason = _imported()[2] or _given_up
    if reason or is_interpreted() or torch.cuda.is_available():
        return reason
    return (
        "there is no CUDA device (to debug the kernels, set TRITON_INTERPRET=1 before Triton's first import)"
    )


def give_up(reason: str) -> None:
    """Report Triton as missing from now on."""
    global _given_up
    _given_up = reason


def _blocks(extent: int, block: int) -> int:
    return -(-extent // block)


def _up(number: int) -> int:
    """The next power of two."""
    return 1 << (number - 1).bit_length()


@dataclass(frozen=True)
class _Sizes:
    """Sizes of a map: images, channels, positions; ``dense`` is true for NCHW, false for channels_last."""

    n: int
    c: int
    p: int
    dense: bool

    def layout(self) -> tuple[tuple[int, int], dict]:
        """Channels and positions as the kernels want them."""
        ac, ap = math.gcd(self.c, 16), math.gcd(self.p, 16)
        return (self.c // ac, self.p // ap), dict(DENSE=self.dense, AC=ac, AP=ap)

    def tile(self, width: int = WIDTH) -> tuple[int, int]:
        """Channels and positions of a tile, ``width`` at most along what is dense."""
        if self.dense:
            bp = min(_up(self.p), width)
            return min(_up(self.c), TILE // bp), bp
        bc = min(_up(self.c), width)
        return bc, min(_up(self.p), TILE // bc)

    @staticmethod
    def splits(programs: int, extent: int, block: int, least: int) -> tuple[int, int]:
        """How many programs share ``extent``, and the blocks of each: at least ``least`` elements."""
        blocks = _blocks(extent, block)
        wanted = min(_blocks(PROGRAMS, programs), max(blocks * block // least, 1))
        span = _blocks(blocks, wanted)
        return _blocks(blocks, span), span


# Plans: what is launched on maps of a size. Kept, since they cost as much as a launch.


@lru_cache(4096)
def _plan_elements(sizes: _Sizes, width: int = WIDTH):
    """A program for each tile."""
    bc, bp = sizes.tile(width)
    along_c, along_p = _blocks(sizes.c, bc), _blocks(sizes.p, bp)
    units, layout = sizes.layout()
    return (sizes.n * along_c * along_p,), (*units, along_c, along_p), dict(layout, BC=bc, BP=bp)


@lru_cache(4096)
def _plan_reduction(sizes: _Sizes, of_channels: bool, width: int):
    """For each tile of channels (positions) programs that walk over its positions (channels)."""
    bc, bp = sizes.tile(width)
    if of_channels:
        along, extent, block, least = _blocks(sizes.c, bc), sizes.p, bp, 256
    else:
        along, extent, block, least = _blocks(sizes.p, bp), sizes.c, bc, 64
    splits, span = sizes.splits(sizes.n * along, extent, block, least)
    units, layout = sizes.layout()
    return (sizes.n * along, splits), (*units, along, splits, span), dict(layout, BC=bc, BP=bp)


class _Map:
    """A map, and the launching of kernels on it."""

    def __init__(self, x: Tensor):
        self.x = x
        n, c, h, w = x.shape
        self.sizes = _Sizes(n, c, h * w, x.is_contiguous())
        self.dtype = accurate_dtype(x)

    def new(self, *shape: int) -> Tensor:
        return self.x.new_empty(shape, dtype=self.dtype)

    def launch(self, name: str, grid: tuple[int, ...], *args, **constants) -> None:
        kernels, triton, _ = _imported()
        kernel = getattr(kernels, name)[grid]
        constants['ACC'] = triton.language.float64 if self.dtype == torch.float64 else triton.language.float32
        device = self.x.device
        if device.type != 'cuda' or device.index == torch.cuda.current_device():
            kernel(*args, **constants)
        else:  # Triton launches on the current device
            with torch.cuda.device(device):
                kernel(*args, **constants)

    def join(self, parts: tuple[Tensor, ...], outs: tuple[Tensor, ...], row: int, divisor: int = 1) -> None:
        """Put ``(N, splits, length)`` together; with three parts, maxima and their ties too."""
        with_amax, (n, splits, length) = len(parts) == 3, parts[0].shape
        block = min(_up(length), 256)
        self.launch(
            'join',
            (n * _blocks(length, block),),
            *(parts if with_amax else parts * 3),
            *(outs if with_amax else outs * 3),
            length,
            splits,
            row,
            length,
            divisor,
            WITH_AMAX=with_amax,
            B=block,
        )

    def sum_parts(self, parts: Tensor) -> Tensor:
        """``(..., splits, length)`` summed over the splits."""
        *rest, splits, length = parts.shape
        if splits == 1:
            return parts.squeeze(-2)
        out = self.new(*rest, length)
        self.join((parts.view(-1, splits, length),), (out,), length)
        return out

    def reduce(
        self,
        affine: Tensor | None,
        channel: Tensor | None,
        outs: tuple[Tensor, ...],
        row: int,
        of_channels: bool,
    ) -> None:
        """Means, and with three ``outs`` maxima and their ties, of channels or of positions."""
        sizes = self.sizes
        length, extent = (sizes.c, sizes.p) if of_channels else (sizes.p, sizes.c)
        width = (1024 if sizes.dense else 64) if of_channels else WIDTH
        grid, integers, constants = _plan_reduction(sizes, of_channels, width)
        splits, with_amax = grid[1], len(outs) == 3
        whole = splits == 1
        parts = outs if whole else tuple(self.new(sizes.n, splits, length) for _ in outs)
        self.launch(
            'reduce',
            grid,
            self.x,
            self.x if affine is None else affine,
            self.x if channel is None else channel,
            *(parts if with_amax else parts * 3),
            *integers,
            row if whole else length,
            length,
            extent if whole else 1,
            OF_CHANNELS=of_channels,
            HAS_NORM=affine is not None,
            HAS_CHANNEL=channel is not None,
            WITH_AMAX=with_amax,
            **constants,
        )
        if not whole:
            self.join(parts, outs, row, extent)


def _flat(*tensors: Tensor | None) -> list[Tensor | None]:
    """As the kernels read them. Gates and gradients are small, and usually so already."""
    return [None if t is None else t.detach().contiguous() for t in tensors]


# The functions of a map that a norm makes of ``z``, if there is an ``affine``; see `TailBackend`.


def pool_norm(z: Tensor, affine: Tensor | None, with_amax: bool) -> tuple[Pooled, Tensor | None]:
    on = _Map(z)
    avg = on.new(*z.shape[:2], 1, 1)
    amax, ties = (on.new(*avg.shape) if with_amax else on.new(0) for _ in range(2))
    outs = (avg, amax, ties) if with_amax else (avg,)
    on.reduce(affine if with_amax else None, None, outs, on.sizes.c, of_channels=True)
    if affine is None:
        return Pooled(avg, amax, ties), None
    scale, shift = affine[:2, :, None, None]
    return Pooled(torch.addcmul(shift, avg, scale), amax, ties), avg


def stats_norm(z: Tensor, affine: Tensor | None, channel: Tensor | None) -> Stats:
    on = _Map(z)
    (channel,) = _flat(channel)
    out, ties = on.new(z.shape[0], 2, *z.shape[2:]), on.new(z.shape[0], 1, *z.shape[2:])
    on.reduce(affine, channel, (out[:, 1], out, ties), 2 * on.sizes.p, of_channels=False)
    return Stats(out, ties)


def stats_backward_norm(
    z: Tensor, affine: Tensor | None, channel: Tensor, dstats: Tensor, stats: Stats
) -> Tensor:
    on = _Map(z)
    n, c = z.shape[:2]
    grid, integers, constants = _plan_reduction(on.sizes, True, WIDTH if on.sizes.dense else 64)
    dchannel = on.new(n, c, 1, 1)
    small = _flat(channel, dstats, stats.amax_mean, stats.ties)
    parts = dchannel if grid[1] == 1 else on.new(n, grid[1], c)
    on.launch(
        'stats_backward',
        grid,
        z,
        z if affine is None else affine,
        *small,
        parts,
        *integers,
        HAS_NORM=affine is not None,
        **constants,
    )
    if parts is not dchannel:
        on.join((parts,), (dchannel,), c)
    return dchannel


def map_backward_norm(
    z: Tensor, affine: Tensor | None, grads: MapGrads, wants_sums: bool
) -> tuple[Tensor, Tensor | None]:
    on = _Map(z)
    dx = torch.empty_like(z)
    dy, *small = grads  # in the order of the kernel's arguments
    given = _flat(*small)
    # A tile for sums has many positions.
    width = 32 if wants_sums and not on.sizes.dense else WIDTH
    grid, integers, constants = _plan_elements(on.sizes, width)
    parts = on.new(2, on.sizes.n, integers[-1], on.sizes.c) if wants_sums else None
    on.launch(
        'map_backward',
        grid,
        z if dy is None else dy,
        z,
        z if affine is None else affine,
        *(z if t is None else t for t in given),
        dx,
        dx if parts is None else parts,
        *integers,
        HAS_NORM=affine is not None,
        WITH_SUMS=wants_sums,
        HAS_DY=dy is not None,
        HAS_CHANNEL=grads.channel is not None,
        HAS_SPATIAL=grads.spatial is not None,
        HAS_DAVG=grads.davg is not None,
        HAS_DAMAX=grads.damax is not None,
        HAS_DSTATS=grads.dstats is not None,
        **constants,
    )
    return dx, None if parts is None else on.sum_parts(on.sum_parts(parts))


def pool(x: Tensor, with_amax: bool) -> Pooled:
    return pool_norm(x, None, with_amax)[0]


def stats(x: Tensor, channel: Tensor | None) -> Stats:
    return stats_norm(x, None, channel)


def stats_backward(x: Tensor, channel: Tensor, dstats: Tensor, stats: Stats) -> Tensor:
    return stats_backward_norm(x, None, channel, dstats, stats)


def map_backward(x: Tensor, grads: MapGrads) -> Tensor:
    return map_backward_norm(x, None, grads, False)[0]


def apply_gates(x: Tensor, gates: Gates) -> Tensor:
    on = _Map(x)
    channel, spatial = _flat(*gates)
    y = torch.empty_like(x)
    grid, integers, constants = _plan_elements(on.sizes)
    on.launch(
        'apply_gates',
        grid,
        x,
        x if channel is None else channel,
        x if spatial is None else spatial,
        y,
        *integers,
        HAS_CHANNEL=channel is not None,
        HAS_SPATIAL=spatial is not None,
        **constants,
    )
    return y


def gates_backward(x: Tensor, dy: Tensor, gates: Gates) -> Gates:
    on = _Map(x)
    channel, spatial = _flat(*gates)
    n, c, h, w = x.shape
    grid, integers, constants = _plan_reduction(on.sizes, False, WIDTH if on.sizes.dense else 32)
    along_p, splits = grid[0] // n, grid[1]
    dchannel = on.new(n, c, 1, 1) if channel is not None else on.new(0)
    dspatial = on.new(n, 1, h, w) if spatial is not None else on.new(0)
    dchannel_parts = on.new(n, along_p, c) if channel is not None and along_p > 1 else dchannel
    dspatial_parts = on.new(n, splits, h * w) if spatial is not None and splits > 1 else dspatial
    on.launch(
        'gates_backward',
        grid,
        dy,
        x,
        x if channel is None else channel,
        x if spatial is None else spatial,
        dchannel_parts,
        dspatial_parts,
        *integers,
        HAS_CHANNEL=channel is not None,
        HAS_SPATIAL=spatial is not None,
        **constants,
    )
    if dchannel_parts is not dchannel:
        on.join((dchannel_parts,), (dchannel,), c)
    if dspatial_parts is not dspatial:
        on.join((dspatial_parts,), (dspatial,), h * w)
    return Gates(dchannel, dspatial)
