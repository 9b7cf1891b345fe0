"""The passes by Triton: any dtype, NCHW or channels_last, on a GPU or by Triton's interpreter. See passes.py.

Tiles and splits follow from sizes and layout alone, so that a result does not depend on the device; there are
no atomics, so that it does not depend on the run. Nothing is tuned while a model trains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mmattn.ops.precision import accurate_dtype

TILE = 2048
"""Elements of a map that a program reads at once."""
WIDTH = 128
"""Of these, so many that lie one behind the other."""
PROGRAMS = 1024
"""So many programs shall there be, if the map is large enough: some for each of a GPU's multiprocessors."""

_given_up = ''


@lru_cache(None)
def _imported():
    """The kernels and Triton, or why they cannot be imported."""
    try:
        import triton

        from mmattn.ops import triton_kernels
    except Exception as error:  # a broken Triton fails in many ways
        return None, None, f'Triton cannot be imported: {type(error).__name__}: {error}'
    return triton_kernels, triton, ''


def is_interpreted() -> bool:
    """Whether kernels run on the CPU, as the environment variable ``TRITON_INTERPRET=1`` asks."""
    kernels, triton, _ = _imported()
    return kernels is not None and not isinstance(kernels.gate, triton.runtime.JITFunction)


def missing_reason() -> str:
    """Why this machine cannot run them; empty if it can."""
    reason = _imported()[2] or _given_up
    if reason or is_interpreted() or torch.cuda.is_available():
        return reason
    return (
        "there is no CUDA device (to debug the kernels, set TRITON_INTERPRET=1 before Triton's first import)"
    )


def give_up(reason: str) -> None:
    """Call Triton missing from now on."""
    global _given_up
    _given_up = reason


def _blocks(extent: int, block: int) -> int:
    return -(-extent // block)


def _up(number: int) -> int:
    """The next power of two."""
    return 1 << (number - 1).bit_length()


@dataclass(frozen=True)
class _Sizes:
    """Of a map: pictures, channels, positions, and whether it is NCHW rather than channels_last."""

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
        """How many programs share a walk along ``extent``, and the blocks of each: ``least`` elements or more."""
        blocks = _blocks(extent, block)
        wanted = min(_blocks(PROGRAMS, programs), max(blocks * block // least, 1))
        span = _blocks(blocks, wanted)
        return _blocks(blocks, span), span


# Plans: what is launched on maps of a size. Kept, since they cost as much as a launch.


@lru_cache(4096)
def _plan_look(sizes: _Sizes, of_channels: bool):
    if of_channels:
        bc, bp = sizes.tile(1024 if sizes.dense else 64)
        along_c, along_p, extent, block, least = _blocks(sizes.c, bc), 1, sizes.p, bp, 256
    else:
        bc, bp = sizes.tile()
        along_c, along_p, extent, block, least = 1, _blocks(sizes.p, bp), sizes.c, bc, 64
    programs = sizes.n * along_c * along_p
    splits, span = sizes.splits(programs, extent, block, least)
    units, layout = sizes.layout()
    return (programs, splits), (*units, along_c, along_p, splits, span), dict(layout, BC=bc, BP=bp), extent


@lru_cache(4096)
def _plan_elements(sizes: _Sizes):
    bc, bp = sizes.tile()
    along_c, along_p = _blocks(sizes.c, bc), _blocks(sizes.p, bp)
    units, layout = sizes.layout()
    return (sizes.n * along_c * along_p,), (*units, along_c, along_p), dict(layout, BC=bc, BP=bp)


@lru_cache(4096)
def _plan_gate_backward(sizes: _Sizes):
    bc, bp = sizes.tile(WIDTH if sizes.dense else 32)
    along_p = _blocks(sizes.p, bp)
    splits, span = sizes.splits(sizes.n * along_p, sizes.c, bc, 64)
    units, layout = sizes.layout()
    return (sizes.n * along_p, splits), (*units, along_p, splits, span), dict(layout, BC=bc, BP=bp)


@lru_cache(4096)
def _plan_stats_backward(sizes: _Sizes):
    bc, bp = sizes.tile(WIDTH if sizes.dense else 64)
    along_c = _blocks(sizes.c, bc)
    splits, span = sizes.splits(sizes.n * along_c, sizes.p, bp, 256)
    units, layout = sizes.layout()
    return (sizes.n * along_c, splits), (*units, along_c, splits, span), dict(layout, BC=bc, BP=bp)


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
        """Put ``(N, splits, length)`` together; with three parts, maxima and their numbers too."""
        peaks, (n, splits, length) = len(parts) == 3, parts[0].shape
        block = min(_up(length), 256)
        self.launch(
            'join',
            (n * _blocks(length, block),),
            *(parts if peaks else parts * 3),
            *(outs if peaks else outs * 3),
            length,
            splits,
            row,
            length,
            divisor,
            PEAKS=peaks,
            B=block,
        )

    def look(self, g: Tensor | None, outs: tuple[Tensor, ...], row: int, of_channels: bool) -> None:
        """Means, and with three ``outs`` maxima and their numbers, of channels or of positions."""
        grid, numbers, constants, extent = _plan_look(self.sizes, of_channels)
        length = self.sizes.c if of_channels else self.sizes.p
        splits, peaks = grid[1], len(outs) == 3
        whole = splits == 1
        parts = outs if whole else tuple(self.new(self.sizes.n, splits, length) for _ in outs)
        self.launch(
            'look',
            grid,
            self.x,
            self.x if g is None else g,
            *(parts if peaks else parts * 3),
            *numbers,
            row if whole else length,
            length,
            extent if whole else 1,
            GATED=g is not None,
            PEAKS=peaks,
            OF_CHANNELS=of_channels,
            **constants,
        )
        if not whole:
            self.join(parts, outs, row, extent)


def _flat(*tensors: Tensor | None) -> list[Tensor | None]:
    """As the kernels read them. Gates and gradients are small, and usually so already."""
    return [None if t is None else t.detach().contiguous() for t in tensors]


def pool(x: Tensor, peaks: bool) -> tuple[Tensor, Tensor, Tensor]:
    on = _Map(x)
    avg = on.new(*x.shape[:2], 1, 1)
    top, count = (on.new(*avg.shape) if peaks else on.new(0) for _ in range(2))
    on.look(None, (avg, top, count) if peaks else (avg,), on.sizes.c, of_channels=True)
    return avg, top, count


def stats(x: Tensor, g: Tensor | None) -> tuple[Tensor, Tensor]:
    on = _Map(x)
    (g,) = _flat(g)
    out, count = on.new(x.shape[0], 2, *x.shape[2:]), on.new(x.shape[0], 1, *x.shape[2:])
    on.look(g, (out[:, 1], out, count), 2 * on.sizes.p, of_channels=False)
    return out, count


def gate(x: Tensor, g: Tensor | None, s: Tensor | None) -> Tensor:
    on = _Map(x)
    g, s = _flat(g, s)
    y = torch.empty_like(x)
    grid, numbers, constants = _plan_elements(on.sizes)
    on.launch(
        'gate',
        grid,
        x,
        x if g is None else g,
        x if s is None else s,
        y,
        *numbers,
        GATED=g is not None,
        SPATIAL=s is not None,
        **constants,
    )
    return y


def gate_backward(dy: Tensor, x: Tensor, g: Tensor | None, s: Tensor | None) -> tuple[Tensor, Tensor]:
    on = _Map(x)
    g, s = _flat(g, s)
    n, c, h, w = x.shape
    grid, numbers, constants = _plan_gate_backward(on.sizes)
    along_p, splits = grid[0] // n, grid[1]
    dg = on.new(n, c, 1, 1) if g is not None else on.new(0)
    ds = on.new(n, 1, h, w) if s is not None else on.new(0)
    dg_parts = on.new(n, along_p, c) if g is not None and along_p > 1 else dg
    ds_parts = on.new(n, splits, h * w) if s is not None and splits > 1 else ds
    on.launch(
        'gate_backward',
        grid,
        dy,
        x,
        x if g is None else g,
        x if s is None else s,
        dg_parts,
        ds_parts,
        *numbers,
        GATED=g is not None,
        SPATIAL=s is not None,
        **constants,
    )
    if dg_parts is not dg:
        on.join((dg_parts,), (dg,), c)
    if ds_parts is not ds:
        on.join((ds_parts,), (ds,), h * w)
    return dg, ds


def stats_backward(x: Tensor, g: Tensor, dstats: Tensor, stats: Tensor, count: Tensor) -> Tensor:
    on = _Map(x)
    n, c = x.shape[:2]
    grid, numbers, constants = _plan_stats_backward(on.sizes)
    dg = on.new(n, c, 1, 1)
    parts = dg if grid[1] == 1 else on.new(n, grid[1], c)
    on.launch('stats_backward', grid, x, *_flat(g, dstats, stats, count), parts, *numbers, **constants)
    if parts is not dg:
        on.join((parts,), (dg,), c)
    return dg


def map_backward(
    dy: Tensor | None,
    x: Tensor,
    g: Tensor | None,
    s: Tensor | None,
    davg: Tensor | None,
    dmax: Tensor | None,
    peak: Tensor | None,
    number: Tensor | None,
    dstats: Tensor | None,
    stats: Tensor | None,
    count: Tensor | None,
) -> Tensor:
    on = _Map(x)
    dx = torch.empty_like(x)
    given = _flat(g, s, davg, dmax, peak, number, dstats, stats, count)
    grid, numbers, constants = _plan_elements(on.sizes)
    on.launch(
        'map_backward',
        grid,
        x if dy is None else dy,
        x,
        *(x if t is None else t for t in given),
        dx,
        *numbers,
        GATED=g is not None,
        SPATIAL=s is not None,
        USED=dy is not None,
        AVG=davg is not None,
        MAX=dmax is not None,
        STATS=dstats is not None,
        **constants,
    )
    return dx
