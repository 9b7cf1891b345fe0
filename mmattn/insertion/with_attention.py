"""The config's way to attention: the type ``mmattn.WithAttention``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from torch import nn

from mmattn import _compat
from mmattn.insertion.attach_detach import attach
from mmattn.insertion.widths import set_widths
from mmattn.registry import MODELS


@MODELS.register_module()
def WithAttention(
    detector: str | None = None,
    insert: Sequence[Mapping] | None = None,
    freeze_detector: bool = False,
    recompute: bool | None = None,
    model: str | None = None,
    widths: Mapping | None = None,
    **config,
) -> nn.Module:
    """Build a detector and insert attention into it.

    In a config, on top of any other::

        _base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
        model = dict(type='mmattn.WithAttention', detector='FasterRCNN', insert=[
            dict(at='backbone.layer[2-4].*.residual',
                 block=dict(type='mmattn.CBAM', start='identity'))])

    Args:
        detector: Type of the model without attention: a detector, or any model of an OpenMMLab codebase, such
            as ``'mmpretrain.ImageClassifier'``. Without a default scope its prefix is the scope of its parts.
        insert: Rules, as :func:`~mmattn.insertion.attach_detach.attach` takes them.
        freeze_detector: Train attention alone, as for an adapter; see
            :func:`~mmattn.insertion.attach_detach.attach`.
        recompute: Compute frozen stages again in the backward pass; see there too.
        model: The same as ``detector``, for a model that has a setting ``detector`` of its own.
        widths: Numbers of channels of a pruned model, as ``tools/prune.py`` writes them; see
            :func:`~mmattn.insertion.widths.set_widths`.
        config: All other settings of the detector.

    Returns:
        The detector, an instance of its own class, with its attention in ``.attention``.

    Raises:
        TypeError: ``detector`` or ``insert`` is missing.
        ValueError: ``detector`` has attention already.
    """
    if isinstance(model, (str, type)):
        if detector is not None:
            config['detector'] = detector
        detector = model
    elif model is not None:
        config['model'] = model
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
    built = attach(_build(detector, config, 'mmattn.WithAttention'), insert, freeze_detector, recompute)
    return built if widths is None else set_widths(built, widths)


@MODELS.register_module()
def Pruned(detector: str, widths: Mapping, **config) -> nn.Module:
    """Build a pruned detector without attention; one with attention has ``widths`` in ``WithAttention``.

    Args:
        detector: Type of the model, as for :func:`WithAttention`.
        widths: Numbers of channels, as ``tools/prune.py`` writes them; see
            :func:`~mmattn.insertion.widths.set_widths`.
        config: All other settings of the detector.
    """
    return set_widths(_build(detector, config, 'mmattn.Pruned'), widths)


def _build(detector: str | type, config: Mapping, needed_by: str) -> nn.Module:
    """Build the model without attention."""
    scope = _scope_of(detector) if DefaultScope.get_current_instance() is None else None
    for module in ('mmcv', 'mmdet') if scope in (None, 'mmdet') else ('mmcv',):
        _compat.require(module, needed_by)
    with ROOT_MODELS.switch_scope_and_registry(scope) as registry:
        return registry.build(dict(type=detector, **config))


def _scope_of(detector: str | type) -> str:
    """Return the scope of a type, MMDetection's if it does not say."""
    if isinstance(detector, str):
        return detector.rpartition('.')[0].partition('.')[0] or 'mmdet'
    scope = detector.__module__.partition('.')[0]
    return scope if scope in ROOT_MODELS.children else 'mmdet'


def _instead_of(name: str, config: Mapping) -> str:
    """Say what a config has in place of a setting that it lacks."""
    near = get_close_matches(name, config, n=1)
    return f'nothing, but {near[0]!r}' if near else 'nothing'
