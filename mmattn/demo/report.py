"""Write what a run of the demo left: metrics, learning curve, images, and a page with all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.fileio import load
from mmengine.runner import Runner

from mmattn.datasets.shapes_settings import read_marker
from mmattn.demo.coco_metrics import coco_metrics, write_metrics
from mmattn.demo.facts import facts_of
from mmattn.demo.image_pairs import draw_pairs, write_sheet
from mmattn.demo.learning_curve import read_scalars, write_learning_curve
from mmattn.demo.page import write_page
from mmattn.insertion import brief_log
from mmattn.visualization import ImageInspection, Inspector, evenly_spread

DETECTIONS = 'detections'
"""Prefix of the file with the detections of the last evaluation, in the work directory."""
_INSPECTED = 3  # images: each takes half a megabyte of the page
_SCORE_THR = 0.4


def write_report(
    runner: Runner, config: str, command: str, seconds: Mapping[str, float]
) -> tuple[dict[str, float | None], dict[str, Path]]:
    """Write the report of a finished training into its work directory.

    Args:
        runner: The run.
        config: Config file, as it was asked for.
        command: The command that started it, if there was one.
        seconds: Duration of each step so far.

    Returns:
        COCO's metrics, and the paths of all files of the run by what they are.
    """
    cfg, work_dir, log_dir = runner.cfg, Path(runner.work_dir), Path(runner.log_dir)
    files = {
        'page': work_dir / 'index.html',
        'log': log_dir / f'{runner.timestamp}.log',
        'checkpoint': Path((work_dir / 'last_checkpoint').read_text().strip()),
        'learning curve': work_dir / 'learning_curve.png',
        'metrics': work_dir / 'coco_metrics.json',
        'images': work_dir / 'images.png',
        'detections': work_dir / f'{DETECTIONS}.bbox.json',
    }
    title = Path(cfg.filename).stem
    data, ann_file = cfg.val_dataloader.dataset, cfg.val_evaluator.ann_file
    images = Path(data.data_root) / data.data_prefix.img
    limits = (read_marker(data.data_root) or {}).get('area_limits')

    metrics = coco_metrics(ann_file, files['detections'], limits)
    write_metrics(metrics, files['metrics'])
    pairs = draw_pairs(ann_file, images, files['detections'], score_thr=_SCORE_THR)
    write_sheet(pairs, files['images'])
    curves = read_scalars(log_dir / 'vis_data' / 'scalars.json')
    write_learning_curve(curves, files['learning curve'], title)
    own_config = work_dir / Path(cfg.filename).name  # as MMEngine left it, with all options
    with brief_log():
        inspector = Inspector(str(own_config), str(files['checkpoint']), data.data_root, score_thr=_SCORE_THR)
    write_page(
        files['page'],
        f'What a run of {title} did',
        facts_of(runner, config, command, seconds),
        metrics,
        curves,
        pairs,
        _inspect(inspector, images, _with_objects(ann_file, [name for name, _ in pairs])),
    )
    return metrics, files


def _with_objects(ann_file: str, names: Sequence[str]) -> list[str]:
    """Return the images that have objects: in others there is nothing to attend to."""
    truth = load(ann_file, file_format='json')
    with_objects = {each['image_id'] for each in truth['annotations']}
    found = {each['file_name'] for each in truth['images'] if each['id'] in with_objects}
    return [name for name in names if name in found]


def _inspect(inspector: Inspector, folder: Path, names: Sequence[str]) -> list[ImageInspection]:
    if not inspector.sources:
        return []
    return [inspector.inspect(str(folder / name), name) for name in evenly_spread(names, _INSPECTED)]
