"""Show what the attention of a finished run looks at: its gates on an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.runner import find_latest_checkpoint

from mmattn.study.plan import Run
from mmattn.study.record import CONFIG
from mmattn.visualization.inspection import ImageInspection, SiteInspection
from mmattn.visualization.overlays import (
    channel_heat,
    draw_channel_heat,
    draw_overlay,
    overlay_caption,
)


class NoGates(Exception):
    """There are no gates to show; the message says why."""


class RunGates:
    """The detector that a run has trained, to show its gates on images.

    Args:
        run: A finished run.
        device: Where the detector runs.

    Raises:
        NoGates: If its checkpoint is gone or cannot be read, or the detector has no gates.
    """

    def __init__(self, run: Run, device: str = 'cpu'):
        # late: it imports mmdet, which other subcommands do not need
        from mmattn.visualization.inspector import Inspector

        checkpoint = _checkpoint(run)
        try:
            self._inspector = Inspector(str(run.folder / CONFIG), str(checkpoint), device=device)
        except (OSError, ValueError) as error:
            raise NoGates(f'the checkpoint {checkpoint} cannot be used: {error}') from error
        if not self._inspector.sources:
            adds = hasattr(self._inspector.model, 'attention')
            raise NoGates(
                f'{run.variant} has none: ' + ('its blocks add to the map' if adds else 'no attention')
            )

    def draw(self, path: str, name: str) -> tuple[str, np.ndarray]:
        """Return a caption, and the gates on an image as an image.

        Drawn is the spatial gate of one site over the grey image. Of blocks that have channel gates alone, it
        is a heat map of all their sites.

        Args:
            path: The image file.
            name: What it is called.

        Raises:
            UnreadableImage: If it cannot be read.
        """
        inspection = self._inspector.inspect(path, name)
        if inspection.overlaid_sites:
            site = _most_uneven(inspection.overlaid_sites)
            return f'gates at {site.name}: {overlay_caption(site)}', draw_overlay(inspection, site)
        if not any(site.channels for site in inspection.sites):
            raise NoGates('no gate of its attention can be drawn over an image')
        return _channel_caption(inspection), draw_channel_heat(inspection)


def _checkpoint(run: Run) -> Path:
    found = find_latest_checkpoint(str(run.folder))
    if not found:
        raise NoGates(f'there is no checkpoint in {run.folder}')
    # the folder of a study may have been moved or copied since
    path = run.folder / Path(found).name
    if not path.is_file():
        raise NoGates(f'the checkpoint {path} is gone')
    return path


def _most_uneven(sites: list[SiteInspection]) -> SiteInspection:
    """Return the site whose gates span most of the range that they can take."""

    def share(site: SiteInspection) -> float:
        low, high = site.spatial_range
        return float(site.overlay.max() - site.overlay.min()) / (high - low)

    return max(sites, key=share)


def _channel_caption(inspection: ImageInspection) -> str:
    _, heat, _ = channel_heat(inspection)
    sites = sum(bool(site.channels) for site in inspection.sites)
    return f'channel gates, {sites} sites from top to bottom: {heat.min():.3f} to {heat.max():.3f}'
