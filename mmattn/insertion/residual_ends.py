"""Residual blocks of MMDetection whose branch ends with a child module, which can have the block."""

from __future__ import annotations

from torch import nn

from mmattn import _compat

# Module, class, the child whose output is added, and the attribute that is true if it is.
_CLASSES = (
    ('mmdet.models.backbones.darknet', 'ResBlock', 'conv2', None),
    ('mmdet.models.layers.csp_layer', 'DarknetBottleneck', 'conv2', 'add_identity'),
    ('mmdet.models.layers.csp_layer', 'CSPNeXtBlock', 'conv2', 'add_identity'),
    ('mmdet.models.layers.inverted_residual', 'InvertedResidual', 'linear_conv', 'with_res_shortcut'),
    ('mmdet.models.backbones.efficientnet', 'EdgeResidual', 'conv2', 'with_residual'),
)
_ENDS = {
    getattr(module, name): (child, flag)
    for path, name, child, flag in _CLASSES
    if (module := _compat.optional(path)) is not None
}


def residual_end(module: nn.Module) -> str | None:
    """Return the name of the child that ends the residual branch of ``module``; ``None`` if it has no branch.

    Subclasses are left out: they may have a forward of their own.
    """
    child, flag = _ENDS.get(type(module), (None, None))
    return child if flag is None or getattr(module, flag) else None
