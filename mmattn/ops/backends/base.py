"""The functions that every backend has, and the tuples that they take and return.

``x`` is a map ``(N, C, H, W)``, dense in NCHW or channels_last. Each function reads what it needs of the
map once. Sums are taken in at least fp32. A gate is rounded to the map's dtype before it is applied, and so
is each product, as by multiplications in PyTorch. Equal maxima share their gradient evenly, hence their
number ``ties``.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Gates(NamedTuple):
    """A channel gate ``(N, C, 1, 1)`` and a spatial gate ``(N, 1, H, W)``, or their gradients."""

    channel: Tensor | None
    spatial: Tensor | None


class Pooled(NamedTuple):
    """Mean, maximum and number of equal maxima over the positions, ``(N, C, 1, 1)`` each, at least fp32."""

    avg: Tensor
    amax: Tensor
    ties: Tensor


class Stats(NamedTuple):
    """Maximum and mean over the channels ``(N, 2, H, W)``; number of equal maxima ``(N, 1, H, W)``."""

    amax_mean: Tensor
    ties: Tensor


class MapGrads(NamedTuple):
    """The operands from which the gradient of a map is computed; ``None`` for a use that it has not.

    Attributes:
        dy: Gradient of the product with the gates, laid out as the map.
        channel: Channel gate ``(N, C, 1, 1)``.
        spatial: Spatial gate ``(N, 1, H, W)``.
        davg: Gradient of the mean over positions ``(N, C, 1, 1)``.
        damax: Gradient of the maximum over positions ``(N, C, 1, 1)``.
        amax: That maximum.
        ties: How many positions share it.
        dstats: Gradient of maximum and mean over channels ``(N, 2, H, W)``.
        stats: These statistics.
        stats_ties: How many channels share the maximum ``(N, 1, H, W)``.
    """

    dy: Tensor | None = None
    channel: Tensor | None = None
    spatial: Tensor | None = None
    davg: Tensor | None = None
    damax: Tensor | None = None
    amax: Tensor | None = None
    ties: Tensor | None = None
    dstats: Tensor | None = None
    stats: Tensor | None = None
    stats_ties: Tensor | None = None


class TailGrads(NamedTuple):
    """What :meth:`TailBackend.backward` returns; ``None`` or empty for what is not wanted.

    Attributes:
        d: Gradient of ``identity`` and of the gated map, laid out as the map.
        gates: Gradients of the gates.
        sums: Sums over the positions of ``d``, and of ``d`` times ``z - mean``, ``(2, N, C)``.
    """

    d: Tensor | None
    gates: Gates
    sums: Tensor | None


@runtime_checkable
class Backend(Protocol):
    """A module that computes the functions of a map."""

    def missing_reason(self) -> str:
        """Why this machine cannot run the backend; empty if it can."""

    def pool(self, x: Tensor, with_amax: bool) -> Pooled:
        """Mean over the positions; maximum and ties too if ``with_amax``, else these are empty."""

    def stats(self, x: Tensor, channel: Tensor | None) -> Stats:
        """Statistics over the channels of ``x * channel``."""

    def apply_gates(self, x: Tensor, gates: Gates) -> Tensor:
        """``(x * channel) * spatial``, where one of the gates may be absent."""

    def gates_backward(self, x: Tensor, dy: Tensor, gates: Gates) -> Gates:
        """Gradients of the gates, at least fp32; empty where a gate is absent."""

    def stats_backward(self, x: Tensor, channel: Tensor, dstats: Tensor, stats: Stats) -> Tensor:
        """Gradient of the channel gate by way of the statistics ``(N, C, 1, 1)``."""

    def map_backward(self, x: Tensor, grads: MapGrads) -> Tensor:
        """Gradient of the map by all its uses together."""


@runtime_checkable
class TailBackend(Protocol):
    """A module that computes the tail of a residual block too: see ``mmattn.ops.tail``.

    ``x = z * scale + shift`` is computed anew in each function and rounded to the dtype of ``z``. ``affine``
    is ``None`` for a norm that was folded into its convolution: then ``x`` is ``z``.
    """

    def norm_affine(self, z: Tensor, norm: tuple) -> Tensor:
        """Scale, shift, mean and ``1 / sqrt(var + eps)`` of a norm in eval mode, ``(4, C)``."""

    def pool(self, z: Tensor, affine: Tensor | None, with_amax: bool) -> tuple[Pooled, Tensor | None]:
        """:meth:`Backend.pool` of ``x``, and the mean of ``z`` if there is an ``affine``."""

    def stats(self, z: Tensor, affine: Tensor | None, channel: Tensor | None) -> Stats:
        """:meth:`Backend.stats` of ``x``."""

    def tail(
        self, z: Tensor, affine: Tensor | None, gates: Gates, identity: Tensor, in_place: bool
    ) -> Tensor:
        """``relu(x * channel * spatial + identity)``, in the memory of ``z`` if ``in_place``."""

    def backward(
        self,
        z: Tensor,
        affine: Tensor | None,
        gates: Gates,
        out: Tensor,
        dout: Tensor,
        wants_d: bool,
        wants_sums: bool,
    ) -> TailGrads:
        """Gradients of ``identity`` and of the gates, and what the norm's gradients need of this pass."""

    def stats_backward(
        self, z: Tensor, affine: Tensor | None, channel: Tensor, dstats: Tensor, stats: Stats
    ) -> Tensor:
        """:meth:`Backend.stats_backward` of ``x``."""

    def map_backward(
        self, z: Tensor, affine: Tensor | None, grads: MapGrads, wants_sums: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Gradient of ``z``; and sums over images and positions of the gradient of ``x``, and of it times
        ``z - mean``, ``(2, C)``. ``grads.dy`` is what :meth:`backward` returned as ``d``."""
