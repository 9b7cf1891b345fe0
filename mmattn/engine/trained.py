"""Build a trained detector from a config and a checkpoint that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import nn

from mmattn.checkpoints import check_insertion, load_checkpoints, read_checkpoint
from mmattn.checkpoints.fit import require_fit
from mmattn.engine.config_model import load_without_data


def trained_detector(
    config: str,
    checkpoint: str,
    data_root: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    device: str = 'cpu',
    trust_checkpoint: bool = False,
) -> tuple[Config, nn.Module]:
    """Return the config of a detector, and the detector with its trained weights, ready to predict.

    Args:
        config: Config file, as MMDetection's tools take it.
        checkpoint: Checkpoint file. A warning says if its attention differs from the model's.
        data_root: Folder of the data set; see :func:`~mmattn.engine.data_root.load_config`.
        cfg_options: Changes to the config.
        device: Device to run on.
        trust_checkpoint: Let the checkpoint run code, see :func:`~mmattn.checkpoints.refuse_code`.

    Raises:
        FileNotFoundError: If there is no such checkpoint file.
        UntrustedCheckpoint: If the file would run code.
        ValueError: If the file cannot be read as a checkpoint, is one of another detector, or lacks some of
            its parameters.
    """
    from mmdet.apis import init_detector

    weights = read_checkpoint(checkpoint, trust_checkpoint=trust_checkpoint)
    cfg = load_without_data(
        config, data_root, cfg_options, _classes_of(weights), f'the checkpoint {checkpoint}'
    )
    with load_checkpoints(trust_checkpoint):
        model = init_detector(cfg, checkpoint, device=device)
    require_fit(model, weights, checkpoint, whole=True)
    check_insertion(model, weights)
    return cfg, model


def _classes_of(checkpoint: Mapping[str, Any]) -> list[str] | None:
    """Return the classes that a checkpoint says it was trained on, as MMDetection 3 or 2 writes them."""
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    meta = {key.lower(): value for key, value in (meta.get('dataset_meta') or meta).items()}
    classes = meta.get('classes')
    return list(map(str, classes)) if isinstance(classes, (list, tuple)) and classes else None
