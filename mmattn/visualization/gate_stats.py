"""Numbers that say what gates do, all on their own device."""

from __future__ import annotations

import torch
from torch import Tensor

NAMES = ('mean', 'std', 'saturation', 'stuck_low', 'stuck_high', 'entropy')
NEAR = 0.01
"""How near to an end of its range, as a share of it, a gate counts as saturated."""
BINS = 16


def gate_stats(gate: Tensor, floor: float = 0.0, ceiling: float = 1.0) -> Tensor:
    """Numbers of one gate, in the order of :data:`NAMES`.

    - ``mean`` and ``std`` of all its values, the latter of the population.
    - ``saturation``: the share of values within :data:`NEAR` of the range from an end.
    - ``stuck_low``, ``stuck_high``: the share of the gate's channels whose every value in the batch is that
      near to the lower, or the upper end. A spatial gate has one channel, so there it is 0 or 1.
    - ``entropy``, in bits, of the values in :data:`BINS` equal parts of the range: 0 where all gates are
      the same, ``log2(BINS)`` where every part is as frequent.

    Args:
        gate: ``(N, C, ...)``, any dtype. Statistics are taken in fp32.
        floor: Lower end of its range.
        ceiling: Upper end.

    Returns:
        Six numbers, NaN where the gate has no values.

    Example:
        >>> import torch
        >>> from mmattn.visualization.gate_stats import NAMES, gate_stats
        >>> gate = torch.tensor([0., 1., .5, .5]).view(1, 4, 1, 1)
        >>> dict(zip(NAMES, gate_stats(gate).tolist()))['saturation']
        0.5
    """
    gate = gate.float()
    if gate.numel() == 0:
        return gate.new_full((len(NAMES),), float('nan'))
    near = NEAR * (ceiling - floor)
    low, high = gate <= floor + near, gate >= ceiling - near
    # Not histc, which is not deterministic on CUDA.
    parts = ((gate - floor) / (ceiling - floor) * BINS).long().clamp(0, BINS - 1)
    counts = torch.bincount(parts.flatten(), minlength=BINS)
    share = counts / counts.sum()
    entropy = -(share * share.clamp_min(1e-12).log2()).sum()
    return torch.stack(
        [gate.mean(), gate.std(correction=0), (low | high).float().mean(), _stuck(low), _stuck(high), entropy]
    )


def _stuck(flags: Tensor) -> Tensor:
    """Share of channels in which all flags are set."""
    return flags.transpose(0, 1).flatten(1).all(1).float().mean()
