"""Functions of tensors. Nothing here knows a module or a detector."""

from mmattn.ops.held import (
    Map,
    apply_gate,
    channel_stats,
    hold,
    release,
    spatial_avg,
    spatial_avg_max,
    spatial_max,
)
from mmattn.ops.precision import accurate_dtype, full_precision
from mmattn.ops.reference import axis_avgs, sigmoid_gate
from mmattn.ops.switch import implementation

__all__ = [
    'Map',
    'accurate_dtype',
    'apply_gate',
    'axis_avgs',
    'channel_stats',
    'full_precision',
    'hold',
    'implementation',
    'release',
    'sigmoid_gate',
    'spatial_avg',
    'spatial_avg_max',
    'spatial_max',
]
