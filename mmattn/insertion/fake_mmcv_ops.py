"""Stand-ins for MMCV's C++ and CUDA ops on fake tensors, for which MMCV infers no shapes."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from functools import wraps
from unittest import mock

import torch.nn.functional as F

from mmattn._private_apis import FakeTensor


def _deform_conv2d(x, offset, weight, stride=1, padding=0, dilation=1, groups=1, *args, **kwargs):
    return F.conv2d(x, weight, None, stride, padding, dilation, groups)


def _modulated_deform_conv2d(x, offset, mask, weight, bias, stride, padding, dilation, groups, *args):
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _carafe(features, masks, kernel_size, group_size, scale_factor):
    return F.interpolate(features, scale_factor=scale_factor)


# By the module that calls them; it is patched only if it has been imported.
_STAND_INS = {
    'mmcv.ops.deform_conv.deform_conv2d': _deform_conv2d,
    'mmcv.ops.saconv.deform_conv2d': _deform_conv2d,
    'mmcv.ops.modulated_deform_conv.modulated_deform_conv2d': _modulated_deform_conv2d,
    'mmcv.ops.carafe.carafe': _carafe,
}


@contextmanager
def shapes_only():
    """Make the ops above return outputs of the right shape for fake tensors."""
    with ExitStack() as stack:
        for name, stand_in in _STAND_INS.items():
            module, _, function = name.rpartition('.')
            real = getattr(sys.modules.get(module), function, None)
            if real is not None:
                stack.enter_context(mock.patch(name, _for_fakes(stand_in, real)))
        yield


def _for_fakes(stand_in, real):
    """Return an op that uses ``stand_in`` for fake tensors only: other threads may run it on data."""

    @wraps(real)
    def op(x, *args, **kwargs):
        return (stand_in if isinstance(x, FakeTensor) else real)(x, *args, **kwargs)

    return op
