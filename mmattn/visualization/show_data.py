"""Check a config's data and show what it holds: what tools/check_data.py calls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from mmengine.config import Config
from rich.table import Table

from mmattn.engine.check_config import check_config
from mmattn.engine.data.check import find_faults, findings_to_tell, refusal
from mmattn.engine.data.examination import Examination
from mmattn.engine.data.examine import WHOLE
from mmattn.engine.data.summary import class_table, set_table
from mmattn.engine.data_root import load_config
from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_file
from mmattn.files import write_file
from mmattn.visualization.data_sheet import data_sheet


@user_input()
def show_data(
    config: str,
    data_root: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    out: str | None = None,
    limit: int = 12,
) -> tuple[list[str | Table], str]:
    """Check the data of a config, and draw some images with their boxes.

    Annotation files are parsed whole, however large they are; nothing is written but the sheet.

    Args:
        config: Config file, or ``mmdet::FOLDER/FILE.py``.
        data_root: Folder of the data set.
        cfg_options: Changes to the config, as MMDetection's tools take them.
        out: Image file of the contact sheet; by default in the config's work directory.
        limit: At most so many images of each data set are drawn.

    Returns:
        Lines and tables to print; and why training is refused, empty if it is not.

    Raises:
        FileNotFoundError: If an annotation file or an image folder is missing.
        ValueError: If ``out`` is of another format.
    """
    cfg = load_config(config, data_root, cfg_options)
    check_config(cfg)
    name = os.path.splitext(os.path.basename(config))[0]
    out = out or os.path.join('work_dirs', name, 'data', 'contact_sheet.jpg')
    if not out.lower().endswith(('.jpg', '.jpeg', '.png')):
        raise ValueError(f"--out was '{out}': the sheet is written as .jpg or .png")
    require_writable_file(out, '--out')
    cfg[WHOLE] = True
    checked, refused = find_faults(cfg, _parts(cfg))
    datasets = list({id(data): data for source, data in checked if source.folder is not None}.values())
    items: list[str | Table] = [*findings_to_tell(checked)]
    if datasets:
        _write_sheet(datasets, out, limit)
        items += [set_table(datasets), class_table(datasets), f'images with their boxes: {out}']
    elif not refused:
        items.append(f'{config} has no data set in COCO format on a local disk: nothing was checked')
    return items, refusal(refused) if refused else ''


def _parts(cfg: Config) -> list[str]:
    """Return the parts that have a data loader; not ``test`` if it is ``val`` again."""
    same = all(cfg.get(f'test_{key}') == cfg.get(f'val_{key}') for key in ('dataloader', 'evaluator'))
    parts = ('train', 'val') if same else ('train', 'val', 'test')
    return [part for part in parts if cfg.get(f'{part}_dataloader')]


def _write_sheet(datasets: list[Examination], out: str, limit: int) -> None:
    sheet, data = data_sheet(datasets, limit), BytesIO()
    image_format = 'PNG' if out.lower().endswith('.png') else 'JPEG'
    sheet.save(data, image_format, **({'quality': 90} if image_format == 'JPEG' else {}))
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
    write_file(out, data.getvalue())
