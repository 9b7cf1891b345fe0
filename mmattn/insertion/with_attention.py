"""The config's way to attention: the type ``mmattn.WithAttention``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from torch import nn

from mmattn import _compat
from mmattn.insertion.attach_detach import attach
from mmattn.registry import MODELS


@MODELS.register_module()
def WithAttention(
    detector: str | None = None,
    insert: Sequence[Mapping] | None = None,
    freeze_detector: bool = False,
    recompute: bool | None = None,
    **config,
) -> nn.Module:
    """Build a detector and insert attention into it.

    In a config, on top of any other::

        _base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
        model = dict(type='mmattn.WithAttention', detector='FasterRCNN', insert=[
            dict(at='backbone.layer[2-4].*.residual',
                 block=dict(type='mmattn.CBAM', start='identity'))])

    Args:
        detector: Type of the model without attention.
        insert: Rules, as :func:`~mmattn.insertion.attach_detach.attach` takes them.
        freeze_detector: Train attention alone, as for an adapter; see
            :func:`~mmattn.insertion.attach_detach.attach`.
        recompute: Compute frozen stages again in the backward pass; see there too.
        config: All other settings of the detector.

    Returns:
        The detector, an instance of its own class, with its attention in ``.attention``.

    Raises:
        TypeError: ``detector`` or ``insert`` is missing.
        ValueError: ``detector`` has attention already.
    """
    for module in ('mmcv', 'mmdet'):
        _compat.require(module, 'mmattn.WithAttention')
    if not isinstance(detector, (str, type)) or isinstance(detector, str) and not detector.rpartition('.')[2]:
        found = _instead_of('detector', config) if detector is None else repr(detector)
        raise TypeError(
            "WithAttention: give 'detector', the type of the model without attention, such as 'FasterRCNN'; "
            f'its other settings stay beside it. Got {found}'
        )
    if detector is WithAttention or str(detector).rpartition('.')[2] == WithAttention.__name__:
        raise ValueError(
            f'WithAttention: detector={detector!r} has attention already: give the detector '
            "itself, such as 'FasterRCNN', and put all rules into one 'insert'"
        )
    if insert is None:
        raise TypeError(
            "WithAttention: give 'insert', a list of rules, such as [dict(at='backbone.**.residual', "
            f"block=dict(type='mmattn.CBAM', start='identity'))]. Got {_instead_of('insert', config)}"
        )
    if DefaultScope.get_current_instance() is None:
        with ROOT_MODELS.switch_scope_and_registry('mmdet') as registry:
            model = registry.build(dict(type=detector, **config))
    else:
        model = ROOT_MODELS.build(dict(type=detector, **config))
    return attach(model, insert, freeze_detector, recompute)


def _instead_of(name: str, config: Mapping) -> str:
    """Say what a config has in place of a setting that it lacks."""
    near = get_close_matches(name, config, n=1)
    return f'nothing, but {near[0]!r}' if near else 'nothing'
