"""Functions of tensors. Nothing here knows a module or a detector."""

from mmattn.ops.dispatch import BACKENDS, backend
from mmattn.ops.lazy_map import (
    FeatureMap,
    apply_gate,
    channel_stats,
    lazy,
    materialize,
    spatial_avg,
    spatial_avg_max,
    spatial_max,
)
from mmattn.ops.precision import accurate_dtype, full_precision
from mmattn.ops.reference import axis_avgs, sigmoid_gate

__all__ = [
    'BACKENDS',
    'backend',
    'FeatureMap',
    'accurate_dtype',
    'apply_gate',
    'axis_avgs',
    'channel_stats',
    'full_precision',
    'lazy',
    'materialize',
    'sigmoid_gate',
    'spatial_avg',
    'spatial_avg_max',
    'spatial_max',
]
