"""What an exported file says of itself, as JSON under one key of its metadata: all that its user needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from torch import nn

from mmattn._private_apis import swaps_channels
from mmattn.engine.machine import PACKAGES
from mmattn.export.detector import DetectorGraph
from mmattn.export.supported import detector_name
from mmattn.insertion.spec import spec_of
from mmattn.version import __version__

KEY = 'mmattn'
"""The key of the metadata."""
FORMAT = 1
"""Format number of descriptions; a reader refuses a higher one."""
_NO_PIXELS = ('Load', 'Pack')
"""Beginnings of the transforms that leave the pixels as they are."""


def describe(graph: DetectorGraph, cfg: Config, **more: Any) -> dict[str, Any]:
    """Return what a file with a graph says of itself.

    Args:
        graph: The graph.
        cfg: Config of its detector.
        **more: Further entries.

    Returns:
        A dict that JSON can hold:

        - ``format``, ``detector``, ``classes``, ``versions``; ``attention``, the insertion, or ``None``;
        - ``pipeline``: the transforms that change pixels before the file's input, as the config has them;
        - ``normalize``: ``inside`` (whether the file does it), ``channels`` of the input (``'bgr'`` or
          ``'rgb'``), ``mean`` and ``std`` in the order of the detector's channels, or ``None``.
    """
    preprocessor = graph.model.data_preprocessor
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    # A pipeline of MMDetection reads BGR.
    of_detector = 'rgb' if swaps_channels(preprocessor) else 'bgr'
    attention = getattr(graph.model, 'attention', None)
    return dict(
        format=FORMAT,
        detector=detector_name(graph.model),
        classes=_classes(graph.model, cfg),
        pipeline=_pixel_transforms(cfg),
        normalize=dict(
            inside=graph.normalize,
            channels='bgr' if graph.normalize else of_detector,
            mean=None if mean is None else mean.flatten().tolist(),
            std=None if std is None else std.flatten().tolist(),
        ),
        pad_size_divisor=preprocessor.pad_size_divisor,
        attention=None if attention is None else spec_of(attention),
        versions=_versions(),
        **more,
    )


def _versions() -> dict[str, str]:
    found = {'mmattn': __version__}
    for name in (*PACKAGES, 'onnx', 'onnxscript'):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def _classes(model: nn.Module, cfg: Config) -> list[str]:
    """Return the classes of the checkpoint, else of the config; numbers where neither fits the head."""
    head = model.roi_head.bbox_head if hasattr(model, 'roi_head') else model.bbox_head
    meta = getattr(model, 'dataset_meta', None) or {}
    of_data = cfg.get('test_dataloader', {}).get('dataset', {}).get('metainfo') or {}
    known = [source.get('classes') or () for source in (meta, of_data)]
    named = next((names for names in known if len(names) == head.num_classes), range(head.num_classes))
    return [str(name) for name in named]


def _pixel_transforms(cfg: Config) -> list[dict[str, Any]]:
    return [
        json.loads(json.dumps(each, default=str))
        for each in get_test_pipeline_cfg(cfg)
        if not str(each['type']).rpartition('.')[2].startswith(_NO_PIXELS)
    ]


def read_description(metadata: Mapping[str, str], file: str, inputs: Sequence[str]) -> dict[str, Any]:
    """Return the description in a file's metadata.

    Args:
        metadata: The metadata.
        file: The file, for the message.
        inputs: What it takes and gives, for the message.

    Raises:
        ValueError: If the file has none, or one that cannot be read here.
    """
    if KEY not in metadata:
        raise ValueError(
            f"'{file}' was not written by tools/export.py: it does not say which classes it detects and "
            f'which images it takes (it has {", ".join(inputs)}). Export the checkpoint with tools/export.py'
        )
    try:
        found = json.loads(metadata[KEY])
        number = int(found['format'])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"'{file}': what it says of itself cannot be read ({error}). Export the checkpoint again"
        ) from error
    if number > FORMAT:
        raise ValueError(
            f"'{file}' was written by a later mmattn ({found.get('versions', {}).get('mmattn')}, format "
            f'{number}; this is {__version__}, format {FORMAT}). Update mmattn, or export again'
        )
    return found
