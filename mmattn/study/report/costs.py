"""What the variants of a study cost: counted, and measured side by side if asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from mmattn.cost import cost_report, measure_time, report_rows
from mmattn.cost.compare import TimingOptions
from mmattn.engine.data.sources import leaf_datasets
from mmattn.engine.init_weights import init_weights_quietly
from mmattn.study.variant_config import build_detector
from mmattn.wanted import is_whole

DEFAULT_SIZE = (800, 1344)


def image_size(cfg: Config) -> tuple[int, int]:
    """Return height and width of the images of a config's evaluation; COCO's usual one if unclear."""
    for _, dataset in leaf_datasets(cfg.val_dataloader.dataset, 'val'):
        for transform in dataset.get('pipeline', ()):
            scale = transform.get('scale') if 'Resize' in str(transform.get('type')) else None
            if isinstance(scale, (tuple, list)) and len(scale) == 2 and all(map(is_whole, scale)):
                return min(scale), max(scale)
    return DEFAULT_SIZE


def costs_of(
    configs: Mapping[str, Config], control: str, timing: TimingOptions | None = None
) -> list[dict[str, Any]]:
    """Return what the detectors of some configs cost, as :func:`mmattn.cost.report_rows` does.

    Args:
        configs: Configs by the names of the variants.
        control: The variant to which ratios refer; it comes first.
        timing: How to measure time, all side by side; None to measure none.
    """
    size = image_size(configs[control])
    names = sorted(configs, key=lambda name: name != control)
    models = {name: build_detector(configs[name]) for name in names}
    reports = {name: cost_report(model, size) for name, model in models.items()}
    if timing:
        for model in models.values():
            init_weights_quietly(model)
        measure_time(models, reports, size, **vars(timing))
    return report_rows(reports)
