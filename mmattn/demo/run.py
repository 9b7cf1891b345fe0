"""Run the demo: generate shapes, train a small detector with attention, evaluate it, write a report."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmattn.checkpoints import load_checkpoints
from mmattn.datasets import ShapesSettings, make_shapes
from mmattn.datasets.shapes_settings import read_marker
from mmattn.demo.coco_metrics import coco_metrics, metrics_table, write_metrics
from mmattn.demo.image_page import draw_pairs, write_page, write_sheet
from mmattn.demo.learning_curve import draw_learning_curve
from mmattn.engine import load_config, user_input
from mmattn.engine.data_root import require_model
from mmattn.engine.output_path import require_writable_folder

TARGETS = dict(AP50=0.80, AP=0.50)
"""Metrics that the demo must reach on the validation split."""
_DETECTIONS = 'detections'


@dataclass
class DemoResult:
    """Result of a demo. Its text is the demo's report.

    Attributes:
        metrics: COCO's twelve metrics.
        files: Paths of the files written, by what they are.
        seconds: Duration of ``data``, ``training`` (with evaluation) and ``report``.
        moved: New path of an earlier result, if there was one.
    """

    metrics: dict[str, float | None]
    files: dict[str, Path]
    seconds: dict[str, float]
    moved: Path | None = None

    def misses(self) -> list[str]:
        """Return a sentence for each target that was missed."""
        return [
            f'{name} is {self.metrics[name] or 0:.3f}, {target - (self.metrics[name] or 0):.3f} '
            f'below the target of {target:.2f}'
            for name, target in TARGETS.items()
            if (self.metrics[name] or 0) < target
        ]

    def __str__(self) -> str:
        width = max(map(len, self.files))
        lines = ['', metrics_table(self.metrics), '']
        lines += [f'{name.ljust(width)}  {path}' for name, path in self.files.items()]
        if self.moved:
            lines.append(f'the earlier result was moved to {self.moved}')
        lines.append('took ' + ', '.join(f'{name} {spent:.0f} s' for name, spent in self.seconds.items()))
        return '\n'.join(lines)


def run_demo(
    config: str | Path,
    data_root: str | Path = 'data/shapes',
    work_dir: str | Path = 'work_dirs/demo',
    cfg_options: Mapping | None = None,
    settings: ShapesSettings | None = None,
    trust_checkpoint: bool = False,
) -> DemoResult:
    """Generate the data set if it does not exist, train, evaluate, and write the report.

    Args:
        config: Config of a detector on the shapes data set.
        data_root: Folder of the data set, which is made there if necessary.
        work_dir: Folder for the result. An earlier result is moved aside.
        cfg_options: Changes to the config.
        settings: Settings of the data set, if not the default ones.
        trust_checkpoint: Let checkpoints run code, see :func:`~mmattn.checkpoints.refuse_code`.
    """
    with user_input():
        cfg = load_config(str(config), str(data_root), cfg_options)
        _require_for_demo(cfg, str(config))
        require_writable_folder(Path(work_dir).parent, '--work-dir')
        if not Path(data_root).exists():
            require_writable_folder(data_root, '--data-root')

    seconds = {}
    start = time.perf_counter()
    print(f'shapes data set in {data_root}: generated if it does not exist', flush=True)
    with user_input():
        make_shapes(data_root, settings or ShapesSettings())
    seconds['data'] = time.perf_counter() - start

    start = time.perf_counter()
    with user_input():
        moved = move_aside(work_dir)
        with load_checkpoints(trust_checkpoint):
            runner = _train(cfg, work_dir)
    seconds['training'] = time.perf_counter() - start

    start = time.perf_counter()
    metrics, files = write_report(cfg, runner)
    seconds['report'] = time.perf_counter() - start
    return DemoResult(metrics, files, seconds, moved)


def _require_for_demo(cfg: Config, config: str) -> None:
    """Raise a ``ValueError`` if the demo cannot train or evaluate what a config describes."""
    require_model(cfg, config)
    for part, key in (('train_cfg', 'max_iters'), ('val_evaluator', 'ann_file')):
        if not (cfg.get(part) or {}).get(key):
            raise ValueError(
                f"config '{config}' has no {part}.{key}, which the demo needs: give one of configs/shapes, "
                'or a config on top of it'
            )


def _train(cfg: Config, work_dir: str | Path) -> Runner:
    cfg.work_dir = str(work_dir)
    # keep the detections of the last evaluation, so that the report needs no second one
    cfg.val_evaluator.outfile_prefix = str(Path(work_dir) / _DETECTIONS)
    if 'OMP_NUM_THREADS' not in os.environ:
        # a network this small gains nothing from more threads, and loses if some of the cores are busy
        torch.set_num_threads(min(torch.get_num_threads(), 4))
    _announce(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def move_aside(work_dir: str | Path) -> Path | None:
    """Rename a folder that is not empty, so that a new run does not mix with it.

    Returns:
        The new path; ``None`` if there was nothing to move.
    """
    work_dir = Path(work_dir)
    if not work_dir.exists() or (work_dir.is_dir() and not any(work_dir.iterdir())):
        return None
    number = 1
    while (target := work_dir.with_name(f'{work_dir.name}.{number}')).exists():
        number += 1
    return work_dir.rename(target)


def write_report(cfg: Config, runner: Runner) -> tuple[dict[str, float | None], dict[str, Path]]:
    """Write the learning curve, the metrics and the images of a finished training.

    Returns:
        COCO's metrics, and the paths of all files of the run by what they are.
    """
    work_dir = Path(cfg.work_dir)
    log_dir = Path(runner.log_dir)
    detections = work_dir / f'{_DETECTIONS}.bbox.json'
    data = cfg.val_dataloader.dataset
    ann_file = cfg.val_evaluator.ann_file
    limits = (read_marker(data.data_root) or {}).get('area_limits')
    metrics = coco_metrics(ann_file, detections, limits)
    files = {
        'log': log_dir / f'{runner.timestamp}.log',
        'checkpoint': Path((work_dir / 'last_checkpoint').read_text().strip()),
        'learning curve': work_dir / 'learning_curve.png',
        'metrics': work_dir / 'coco_metrics.json',
        'images': work_dir / 'images.png',
        'page': work_dir / 'images.html',
        'detections': detections,
    }
    title = Path(cfg.filename).stem
    draw_learning_curve(log_dir / 'vis_data' / 'scalars.json', files['learning curve'], title)
    write_metrics(metrics, files['metrics'])
    pairs = draw_pairs(ann_file, Path(data.data_root) / data.data_prefix.img, detections)
    write_sheet(pairs, files['images'])
    write_page(pairs, files['page'], f'{title}: ground truth beside detections', metrics_table(metrics))
    return metrics, files


def _announce(cfg: Config) -> None:
    if torch.cuda.is_available():
        where = f'on {torch.cuda.get_device_name()}'
    else:
        where = f'on the CPU with {torch.get_num_threads()} threads'
    print(
        f'training {Path(cfg.filename).stem} {where}, {cfg.train_cfg.max_iters} iterations of '
        f'{cfg.train_dataloader.batch_size} images',
        flush=True,
    )
