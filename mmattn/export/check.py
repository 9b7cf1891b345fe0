"""Run a detector and the file that was made of it on the same images."""

from __future__ import annotations

import torch
from mmengine.config import Config
from torch import nn

from mmattn.engine.config_images import images
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
