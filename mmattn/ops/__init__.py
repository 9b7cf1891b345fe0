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
from mmattn.ops.sizes import degrees_of_freedom, static_size, unflatten
from mmattn.ops.tail import Norm, are_tails_counted, lazy_norm, residual_tail, tail_reason, tails_counter
from mmattn.ops.tensors import has_no_data

__all__ = [
    'BACKENDS',
    'backend',
    'FeatureMap',
    'Norm',
    'accurate_dtype',
    'apply_gate',
    'are_tails_counted',
    'axis_avgs',
    'channel_stats',
    'degrees_of_freedom',
    'full_precision',
    'has_no_data',
    'lazy',
    'lazy_norm',
    'materialize',
    'residual_tail',
    'sigmoid_gate',
    'spatial_avg',
    'spatial_avg_max',
    'spatial_max',
    'static_size',
    'tail_reason',
    'tails_counter',
    'unflatten',
]
