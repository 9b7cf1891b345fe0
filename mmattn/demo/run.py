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
from mmattn.demo.coco_metrics import metrics_table
from mmattn.demo.report import DETECTIONS, write_report
from mmattn.demo.targets import misses
from mmattn.engine import load_config, user_input
from mmattn.engine.data_root import require_model
from mmattn.engine.output_path import require_writable_folder


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
        return misses(self.metrics)

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
    command: str = '',
) -> DemoResult:
    """Generate the data set if it does not exist, train, evaluate, and write the report.

    Args:
        config: Config of a detector on the shapes data set.
        data_root: Folder of the data set, which is made there if necessary.
        work_dir: Folder for the result. An earlier result is moved aside.
        cfg_options: Changes to the config.
        settings: Settings of the data set, if not the default ones.
        trust_checkpoint: Let checkpoints run code, see :func:`~mmattn.checkpoints.refuse_code`.
        command: The command to name on the page.
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
    metrics, files = write_report(runner, str(config), command, seconds)
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
    cfg.val_evaluator.outfile_prefix = str(Path(work_dir) / DETECTIONS)
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
