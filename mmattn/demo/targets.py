"""What the demo's detector has to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping

TARGETS = dict(AP50=0.80, AP=0.50)
"""Metrics that the demo must reach on the validation split."""


def misses(metrics: Mapping[str, float | None]) -> list[str]:
    """Return a sentence for each target that was missed."""
    return [
        f'{name} is {metrics[name] or 0:.3f}, {target - (metrics[name] or 0):.3f} '
        f'below the target of {target:.2f}'
        for name, target in TARGETS.items()
        if (metrics[name] or 0) < target
    ]


def verdicts(metrics: Mapping[str, float | None]) -> list[str]:
    """Return a sentence for each target, whether it was reached or not."""
    return [
        f'**{name} {metrics[name] or 0:.3f}**: the target of {target:.2f} was '
        + ('reached' if (metrics[name] or 0) >= target else 'missed')
        for name, target in TARGETS.items()
    ]
