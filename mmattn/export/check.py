"""Run a detector and the file that was made of it on the same images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from torch import nn

from mmattn.engine.data_root import DATA_ROOT_VARIABLE
from mmattn.engine.mistakes import user_input
from mmattn.export.agreement import Agreement
from mmattn.export.detector import DetectorGraph
from mmattn.export.exported import ExportedDetector


def check_file(file: str, cfg: Config, graph: DetectorGraph, count: int) -> Agreement:
    """Compare an exported file with its detector on images of the config's test data.

    Args:
        file: An ``.onnx`` file.
        cfg: The config.
        graph: What was exported.
        count: How many images, evenly spread; 0: all.
    """
    return compare(graph.model, ExportedDetector(file), cfg, count)


@torch.no_grad()
def compare(model: nn.Module, other: nn.Module, cfg: Config, count: int = 0) -> Agreement:
    """Compare the detections of two models on images of a config's test data, one by one."""
    agreement = Agreement()
    for batch in images(cfg, count):
        first, second = (
            each.test_step(dict(batch, data_samples=[batch['data_samples'][0].clone()]))[0].pred_instances
            for each in (model, other)
        )
        agreement.add(first, second)
    return agreement


def images(cfg: Config, count: int = 0, part: str = 'test') -> Iterator[dict]:
    """Yield images of a config's data in batches of one, evenly spread; all if ``count`` is 0."""
    with user_input(), DefaultScope.overwrite_default_scope('mmdet'):
        try:
            dataset = DATASETS.build(cfg[f'{part}_dataloader'].dataset)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{error}. Set the data root with --data-root or {DATA_ROOT_VARIABLE}'
            ) from error
    total = len(dataset)
    count = min(count or total, total)
    for i in range(count):
        yield pseudo_collate([dataset[i * total // count]])
