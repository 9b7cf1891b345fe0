"""From config and checkpoint files to sheets, arrays and a page: what ``tools/show_attention.py`` calls."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_folder
from mmattn.visualization.image_files import evenly_spread, images_at
from mmattn.visualization.inspector import Inspector
from mmattn.visualization.output import model_name, show_attention


def show_detectors(
    detectors: Sequence[tuple[str, str]],
    images: str | None = None,
    dataset: str | None = None,
    out_dir: str | None = None,
    sites: Sequence[str] = (),
    limit: int = 8,
    overwrite: bool = False,
    **options: Any,
) -> str:
    """Show the attention of detectors on images, side by side if there are two.

    Args:
        detectors: Config and checkpoint of each detector.
        images: An image file or a folder of them.
        dataset: ``'train'``, ``'val'`` or ``'test'``: images of the first config's data set instead.
        out_dir: Folder for the result; by default ``work_dirs/CONFIG/show_attention``.
        sites: Globs of the sites to show; all by default.
        limit: Show at most this many images, evenly spread; 0 shows all.
        overwrite: Replace an earlier result.
        **options: Arguments of :class:`~mmattn.visualization.inspector.Inspector`.

    Returns:
        A sentence with what was written.

    Raises:
        ValueError: If a detector is given twice, or one cannot be built, or has no gates to show.
        FileExistsError: If there is an earlier result, and ``overwrite`` is False.
    """
    out_dir = out_dir or os.path.join('work_dirs', model_name(detectors[0][0]), 'show_attention')
    with user_input():
        named = _named(detectors)
        require_writable_folder(out_dir, '--out-dir')
    inspectors = {name: _inspector(*files, options) for name, files in named.items()}
    with user_input(errors=(ValueError, KeyError, OSError, ImportError)):
        first = next(iter(inspectors.values()))
        paths = first.dataset_images(dataset) if dataset else images_at(images)
        files = show_attention(inspectors, evenly_spread(paths, limit), out_dir, sites, overwrite)
    return f'{len(files) // 2} of {len(paths)} image(s): sheets, arrays, and {files[-1]}'


def _named(detectors: Sequence[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Name detectors by their config; if that is not enough, by their checkpoint too."""
    named = {model_name(config): (config, checkpoint) for config, checkpoint in detectors}
    if len(named) < len(detectors):
        named = {f'{model_name(config)} ({file})': (config, file) for config, file in detectors}
    if len(named) < len(detectors):
        raise ValueError('--compare was given the first config and checkpoint again')
    return named


def _inspector(config: str, checkpoint: str, options: Mapping[str, Any]) -> Inspector:
    with user_input(f'{config} and {checkpoint}'):
        return Inspector(config, checkpoint, **options)
