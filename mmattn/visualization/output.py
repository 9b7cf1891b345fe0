"""Write sheets, arrays and a page that show attention on images: what tools/show_attention.py does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.utils import ProgressBar

from mmattn.files import write_file
from mmattn.visualization.html_attention import NOTE
from mmattn.visualization.image_files import output_names
from mmattn.visualization.inspection import ImageInspection
from mmattn.visualization.inspector import Inspector, UnreadableImage
from mmattn.visualization.page import write_attention_page
from mmattn.visualization.sheet import contact_sheet
from mmattn.visualization.sources import sources_at, why_no_gates

PAGE = 'index.html'


def show_attention(
    inspectors: dict[str, Inspector],
    images: Sequence[str],
    out_dir: str,
    globs: Sequence[str] = (),
    overwrite: bool = False,
    dpi: int = 80,
) -> list[str]:
    """Write a sheet and arrays for each image, and one page for all images.

    Args:
        inspectors: The detectors to show side by side, by name.
        images: Paths of the images.
        out_dir: Folder for ``NAME.png``, ``NAME.npz`` and ``index.html``.
        globs: Show only the sites that match one of these.
        overwrite: Replace files that exist already.
        dpi: Pixels per inch of the sheets.

    Returns:
        Paths of the files written.

    Raises:
        FileExistsError: If one of the files exists already and ``overwrite`` is False, or if a sheet would
            replace one of the images.
        ValueError: If no detector has gates, or a glob matches none; after all other images are shown, if
            some files cannot be read as images.
    """
    if not any(inspector.sources for inspector in inspectors.values()):
        raise ValueError(
            '; '.join(f'no gates in {name}: {why_no_gates(each.model)}' for name, each in inspectors.items())
        )
    chosen = sources_at([inspector.model for inspector in inspectors.values()], globs)
    for inspector, sources in zip(inspectors.values(), chosen):
        inspector.sources = sources
    names = output_names(images)
    out = Path(out_dir)
    files = [out / f'{name}.{suffix}' for name in names for suffix in ('png', 'npz')] + [out / PAGE]
    _require_free(files, images, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    title = ' against '.join(inspectors)
    unreadable: list[UnreadableImage] = []

    def inspect_and_write() -> Iterator[dict[str, ImageInspection]]:
        progress = ProgressBar(len(images))
        for path, name in zip(images, names):
            try:
                inspections = {
                    model: inspector.inspect(path, os.path.basename(path))
                    for model, inspector in inspectors.items()
                }
            except UnreadableImage as error:  # show the others first
                unreadable.append(error)
                progress.update()
                continue
            sheet = contact_sheet(inspections, title)
            write_file(out / f'{name}.png', partial(sheet.savefig, format='png', dpi=dpi))
            arrays = inspection_arrays(inspections)
            write_file(out / f'{name}.npz', partial(np.savez_compressed, **arrays))
            progress.update()
            yield inspections
        print()

    write_attention_page(inspect_and_write(), out / PAGE, title, NOTE)
    if unreadable:
        raise ValueError(
            f'{"; ".join(map(str, unreadable))}. The other {len(images) - len(unreadable)} of '
            f'{len(images)} are in {out}'
        )
    return [str(file) for file in files]


def _require_free(files: Sequence[Path], images: Sequence[str], overwrite: bool) -> None:
    """Refuse to replace an earlier result, unless ``overwrite`` is True, or one of the images."""
    existing = [str(file) for file in files if file.exists()]
    if existing and not overwrite:
        raise FileExistsError(f'{existing[0]} exists already: give another --out-dir, or --overwrite')
    own = {os.path.realpath(path) for path in images}.intersection(os.path.realpath(file) for file in files)
    if own:
        raise FileExistsError(
            f'{sorted(own)[0]} is one of the images, and its sheet would overwrite it: give another --out-dir'
        )


def inspection_arrays(inspections: dict[str, ImageInspection]) -> dict[str, np.ndarray]:
    """Return all numbers behind a sheet by ``SITE/GATE``; with several detectors, by ``MODEL/SITE/GATE``."""
    arrays = {}
    for model, inspection in inspections.items():
        prefix = f'{model}/' if len(inspections) > 1 else ''
        for site in inspection.sites:
            for gate, values in site.gates.items():
                arrays[f'{prefix}{site.name}/{gate}'] = values
        arrays[f'{prefix}detections/bboxes'] = inspection.detections.bboxes.numpy()
        arrays[f'{prefix}detections/scores'] = inspection.detections.scores.numpy()
        arrays[f'{prefix}detections/labels'] = inspection.detections.labels.numpy()
        arrays[f'{prefix}contrast'] = inspection.contrast
        arrays[f'{prefix}contrast_sites'] = np.array([site.name for site in inspection.overlaid_sites], str)
        arrays[f'{prefix}picture'] = inspection.image
        for i, cam in enumerate(inspection.cams):
            arrays[f'{prefix}grad_cam/{i}'] = cam
    return arrays


def model_name(config: str) -> str:
    """Return the name of a detector: its config's file name without the suffix."""
    return os.path.splitext(os.path.basename(config))[0]
