"""Functions of tensors. Nothing here knows a module or a detector."""
from mmattn.ops.precision import accurate_dtype, full_precision
from mmattn.ops.reference import (
    apply_gate,
    axis_avgs,
    channel_stats,
    sigmoid_gate,
    spatial_avg,
    spatial_max,
)

__all__ = ['accurate_dtype', 'apply_gate', 'axis_avgs', 'channel_stats', 'full_precision', 'sigmoid_gate',
           'spatial_avg', 'spatial_max']
