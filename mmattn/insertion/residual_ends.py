"""Residual blocks whose branch ends with a child module, which is the place for a block."""

from __future__ import annotations

from torch import nn

try:
    from mmdet.models.backbones.darknet import ResBlock
    from mmdet.models.backbones.efficientnet import EdgeResidual
    from mmdet.models.layers.csp_layer import CSPNeXtBlock, DarknetBottleneck
    from mmdet.models.layers.inverted_residual import InvertedResidual
except ModuleNotFoundError as error:
    if error.name.split('.')[0] not in ('mmdet', 'mmcv'):
        raise
    _ENDS = {}
else:
    # Class, the child whose output is added, and the attribute that says whether it is.
    _ENDS = {
        ResBlock: ('conv2', None),
        DarknetBottleneck: ('conv2', 'add_identity'),
        CSPNeXtBlock: ('conv2', 'add_identity'),
        InvertedResidual: ('linear_conv', 'with_res_shortcut'),
        EdgeResidual: ('conv2', 'with_residual'),
    }


def residual_end(module: nn.Module) -> str | None:
    """The child of ``module`` with which its residual branch ends; ``None`` if it has no branch.

    Of these classes exactly: a subclass may have a forward of its own.
    """
    child, flag = _ENDS.get(type(module), (None, None))
    return child if flag is None or getattr(module, flag) else None
