"""The config's way to :func:`~mmattn.insertion.attach.attach`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from torch import nn

from mmattn import _compat
from mmattn.insertion.attach import attach
from mmattn.registry import MODELS


@MODELS.register_module()
def WithAttention(
    detector: str | None = None,
    insert: Sequence[Mapping] | None = None,
    freeze_detector: bool = False,
    **config,
) -> nn.Module:
    """Build a detector and insert attention into it.

    In a config, three lines on top of any other::

        _base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
        model = dict(type='mmattn.WithAttention', detector='FasterRCNN', insert=[
            dict(at='backbone.layer[2-4].*.residual',
                 block=dict(type='mmattn.CBAM', start='identity'))])

    Args:
        detector: The type that the config's model has without attention.
        insert: Rules as :func:`~mmattn.insertion.attach.attach` takes them.
        freeze_detector: Train attention alone, as for an adapter; see there too.
        config: All else is the detector's.

    Returns:
        The detector itself, an instance of its class, with its attention in ``.attention``.
    """
    for module in ('mmcv', 'mmdet'):
        _compat.require(module, 'mmattn.WithAttention')
    if not isinstance(detector, (str, type)):
        found = 'It is missing' if detector is None else f'Got {detector!r}'
        raise TypeError(
            "WithAttention: 'detector' is the type of the model without attention, such "
            f"as 'FasterRCNN'; its other settings stay beside it. {found}"
        )
    if detector is WithAttention or str(detector).rpartition('.')[2] == WithAttention.__name__:
        raise ValueError(
            f'WithAttention: detector={detector!r} has attention already: name the detector '
            "itself, such as 'FasterRCNN', and put all rules into one 'insert'"
        )
    if insert is None:
        raise TypeError(
            "WithAttention: 'insert' is missing: it is a list of rules, such as [dict(at="
            "'backbone.**.residual', block=dict(type='mmattn.CBAM', start='identity'))]"
        )
    if DefaultScope.get_current_instance() is None:
        with ROOT_MODELS.switch_scope_and_registry('mmdet') as registry:
            model = registry.build(dict(type=detector, **config))
    else:
        model = ROOT_MODELS.build(dict(type=detector, **config))
    return attach(model, insert, freeze_detector)
