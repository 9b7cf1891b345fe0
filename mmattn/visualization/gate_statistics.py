"""Statistics of gates: how they are spread and how many are stuck, computed on the gates' device."""

from __future__ import annotations

import torch
from torch import Tensor

NAMES = ('mean', 'std', 'saturation', 'stuck_low', 'stuck_high', 'entropy')
"""Names of the numbers that :func:`gate_stats` returns, in its order."""
NEAR = 0.01
"""A gate counts as saturated if it is this near to an end of its range, as a share of the range."""
BINS = 16
"""Number of bins for the entropy."""


def gate_stats(gate: Tensor, floor: float = 0.0, ceiling: float = 1.0) -> Tensor:
    """Compute the statistics of one gate, in this order:

    - ``mean``, ``std``: mean and population standard deviation of all values.
    - ``saturation``: share of values within a hundredth of the range from one of its ends.
    - ``stuck_low``, ``stuck_high``: share of channels that are this near to the lower (upper) end for every
      value in the batch. A spatial gate has one channel, so for it they are 0 or 1.
    - ``entropy``: entropy in bits of a histogram of 16 equal bins over the range: 0 if all values fall into
      one bin, 4 if all bins are equally full.

    Args:
        gate: Gate of any dtype; statistics are computed in fp32.
        floor: Lower end of the gate's range.
        ceiling: Upper end of the gate's range.

    Returns:
        Six numbers; NaN if the gate is empty.

    Shape:
        ``gate`` is ``(N, C, ...)``, the result ``(6,)``.

    Example:
        >>> import torch
        >>> from mmattn.visualization.gate_statistics import NAMES, gate_stats
        >>> gate = torch.tensor([0., 1., .5, .5]).view(1, 4, 1, 1)
        >>> dict(zip(NAMES, gate_stats(gate).tolist()))['saturation']
        0.5
    """
    gate = gate.float()
    if gate.numel() == 0:
        return gate.new_full((len(NAMES),), float('nan'))
    near = NEAR * (ceiling - floor)
    low, high = gate <= floor + near, gate >= ceiling - near
    # bincount, because histc is not deterministic on CUDA
    bins = ((gate - floor) / (ceiling - floor) * BINS).long().clamp(0, BINS - 1)
    counts = torch.bincount(bins.flatten(), minlength=BINS)
    share = counts / counts.sum()
    entropy = -(share * share.clamp_min(1e-12).log2()).sum()
    return torch.stack(
        [gate.mean(), gate.std(correction=0), (low | high).float().mean(), _stuck(low), _stuck(high), entropy]
    )


def _stuck(flags: Tensor) -> Tensor:
    """Return the share of channels in which all flags are set."""
    return flags.transpose(0, 1).flatten(1).all(1).float().mean()
