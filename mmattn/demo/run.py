"""The demo: generate shapes, train a small detector with attention, evaluate it, show the result."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.runner import Runner

from mmattn.datasets.shapes import ShapesSettings, make_shapes, read_marker
from mmattn.demo.coco_metrics import coco_figures, figures_table, write_figures
from mmattn.demo.image_page import draw_pairs, write_page, write_sheet
from mmattn.demo.learning_curve import draw_learning_curve
from mmattn.engine import load_config

# What the demo must reach on the validation split.
TARGETS = dict(AP50=0.80, AP=0.50)
_DETECTIONS = 'detections'


@dataclass
class DemoResult:
    """What a demo left.

    Args:
        figures (dict): COCO's twelve.
        files (dict): Where things lie, by name.
        seconds (dict): How long ``data``, ``training`` (with evaluation) and ``report`` took.
        moved (Path, optional): Where an earlier result went.
    """

    figures: dict
    files: dict
    seconds: dict
    moved: Path = None

    def misses(self):
        """Targets that were missed, as sentences."""
        return [
            f'{name} is {self.figures[name] or 0:.3f}, {wanted - (self.figures[name] or 0):.3f} '
            f'below the target of {wanted:.2f}'
            for name, wanted in TARGETS.items()
            if (self.figures[name] or 0) < wanted
        ]

    def __str__(self):
        width = max(map(len, self.files))
        lines = ['', figures_table(self.figures), '']
        lines += [f'{name.ljust(width)}  {path}' for name, path in self.files.items()]
        if self.moved:
            lines.append(f'the earlier result was moved to {self.moved}')
        lines.append('took ' + ', '.join(f'{name} {spent:.0f} s' for name, spent in self.seconds.items()))
        return '\n'.join(lines)


def run_demo(config, data_root='data/shapes', work_dir='work_dirs/demo', cfg_options=None, settings=None):
    """Generate the data set if it is absent, train, evaluate, and write the report.

    Args:
        config (str | Path): A config on the shapes data set.
        data_root (str | Path): Where the data set is, or is to be.
        work_dir (str | Path): Where the result goes. What an earlier run left there is moved aside.
        cfg_options (dict, optional): Changes to the config.
        settings (ShapesSettings, optional): The data set to make, if not the default one.

    Returns:
        DemoResult: Print it, and look at ``misses()``.
    """
    seconds = {}
    start = time.perf_counter()
    print(f'shapes data set in {data_root}: drawing it if it is not there', flush=True)
    make_shapes(data_root, settings or ShapesSettings())
    seconds['data'] = time.perf_counter() - start

    start = time.perf_counter()
    moved = move_aside(work_dir)
    cfg = load_config(str(config), str(data_root), cfg_options)
    cfg.work_dir = str(work_dir)
    # the last evaluation leaves its detections, so the figures need no second one
    cfg.val_evaluator.outfile_prefix = str(Path(work_dir) / _DETECTIONS)
    if 'OMP_NUM_THREADS' not in os.environ:
        # so small a network gains nothing from more, and loses when they are not all free
        torch.set_num_threads(min(torch.get_num_threads(), 4))
    _announce(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    seconds['training'] = time.perf_counter() - start

    start = time.perf_counter()
    figures, files = write_report(cfg, runner)
    seconds['report'] = time.perf_counter() - start
    return DemoResult(figures, files, seconds, moved)


def move_aside(work_dir):
    """Rename a folder that holds something, so that a new run does not mix with it.

    Returns:
        Path: The new name, or None when there was nothing to move.
    """
    work_dir = Path(work_dir)
    if not work_dir.exists() or (work_dir.is_dir() and not any(work_dir.iterdir())):
        return None
    number = 1
    while (target := work_dir.with_name(f'{work_dir.name}.{number}')).exists():
        number += 1
    return work_dir.rename(target)


def write_report(cfg, runner):
    """The learning curve, the twelve figures and the pictures of a finished training.

    Returns:
        tuple: The figures, and the files by name.
    """
    work_dir = Path(cfg.work_dir)
    log_dir = Path(runner.log_dir)
    detections = work_dir / f'{_DETECTIONS}.bbox.json'
    data = cfg.val_dataloader.dataset
    ann_file = cfg.val_evaluator.ann_file
    limits = (read_marker(data.data_root) or {}).get('area_limits')
    figures = coco_figures(ann_file, detections, limits)
    files = {
        'log': log_dir / f'{runner.timestamp}.log',
        'checkpoint': Path((work_dir / 'last_checkpoint').read_text().strip()),
        'learning curve': work_dir / 'learning_curve.png',
        'figures': work_dir / 'coco_figures.json',
        'pictures': work_dir / 'pictures.png',
        'page': work_dir / 'pictures.html',
        'detections': detections,
    }
    title = Path(cfg.filename).stem
    draw_learning_curve(log_dir / 'vis_data' / 'scalars.json', files['learning curve'], title)
    write_figures(figures, files['figures'])
    pairs = draw_pairs(ann_file, Path(data.data_root) / data.data_prefix.img, detections)
    write_sheet(pairs, files['pictures'])
    write_page(pairs, files['page'], f'{title}: ground truth beside detections', figures_table(figures))
    return figures, files


def _announce(cfg):
    if torch.cuda.is_available():
        where = f'on {torch.cuda.get_device_name()}'
    else:
        where = f'on the CPU with {torch.get_num_threads()} threads'
    print(
        f'training {Path(cfg.filename).stem} {where}, {cfg.train_cfg.max_iters} iterations of '
        f'{cfg.train_dataloader.batch_size} pictures',
        flush=True,
    )
