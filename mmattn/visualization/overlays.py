"""Draw detections, gates and Grad-CAM over an inspected image, with their captions."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from PIL import Image, ImageDraw

from mmattn.visualization.drawing import COLOURS, draw_boxes
from mmattn.visualization.inspection import ImageInspection, SiteInspection

COLOUR_MAP = matplotlib.colormaps['viridis']
NEARLY_EVEN = 0.02
"""Gates that span a smaller share of their range than this are drawn as nearly even."""
_OPACITY = 0.6


def draw_detections(inspection: ImageInspection) -> np.ndarray:
    """Return the image with boxes, classes and scores."""
    image = Image.fromarray(inspection.image)
    detections = inspection.detections
    boxes = [
        dict(bbox=(x1, y1, x2 - x1, y2 - y1), category_id=int(label), score=float(score))
        for (x1, y1, x2, y2), label, score in zip(
            detections.bboxes.tolist(), detections.labels, detections.scores
        )
    ]
    labels = {box['category_id'] for box in boxes}
    names = {label: _class_name(inspection, label) for label in labels}
    draw_boxes(image, boxes, names, {label: COLOURS[label % len(COLOURS)] for label in labels})
    return np.asarray(image)


def draw_overlay(inspection: ImageInspection, site: SiteInspection) -> np.ndarray:
    """Return the grey image under the colours of a site's gates; see :func:`colour_range`."""
    return _blend(inspection.image, site.overlay, *colour_range(site.overlay, site.spatial_range))


def channel_range(inspection: ImageInspection) -> tuple[float, float]:
    """Return the lowest and highest value that a channel gate of any site can take."""
    lows, highs = zip(*(site.channel_range for site in inspection.sites if site.channels))
    return min(lows), max(highs)


def channel_heat(inspection: ImageInspection) -> tuple[list[str], np.ndarray, tuple[float, float]]:
    """Return the channel gates of all sites as a heat map.

    Returns:
        The names of the rows, a row for each site, with the number of its channels; the gates, from the first
        channel of a site to its last; and the values at the two ends of the colour map.
    """
    rows = {
        (site.name if view == 'channel' else f'{site.name} {view}'): values
        for site in inspection.sites
        for view, values in site.channels.items()
    }
    width = max(len(values) for values in rows.values())
    heat = np.stack([values[np.arange(width) * len(values) // width] for values in rows.values()])
    names = [f'{name} ({len(values)})' for name, values in rows.items()]
    return names, heat, colour_range(heat, channel_range(inspection))


def draw_channel_heat(inspection: ImageInspection) -> np.ndarray:
    """Return the heat map of the channel gates, :func:`channel_heat`, at the size of the image."""
    _, heat, (low, high) = channel_heat(inspection)
    colours = (COLOUR_MAP(Normalize(low, high)(heat))[..., :3] * 255).round().astype(np.uint8)
    size = inspection.image.shape[1::-1]
    return np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.NEAREST))


def draw_cam(inspection: ImageInspection, number: int) -> np.ndarray:
    """Return the grey image under the colours of a detection's Grad-CAM, from 0 to its maximum."""
    cam = inspection.cams[number]
    image = Image.fromarray(_blend(inspection.image, cam, 0.0, max(float(cam.max()), 1e-12)))
    ImageDraw.Draw(image).rectangle(inspection.detections.bboxes[number].tolist(), outline='white', width=2)
    return np.asarray(image)


def colour_range(values: np.ndarray, limits: tuple[float, float]) -> tuple[float, float]:
    """Return the values at the two ends of the colour map: the least and the greatest value.

    They are at least :data:`NEARLY_EVEN` of the range ``limits`` apart. Otherwise rounding noise in gates
    that are all alike would look like attention.
    """
    low, high = float(values.min()), float(values.max())
    missing = max(NEARLY_EVEN * (limits[1] - limits[0]) - (high - low), 0) / 2
    return low - missing, high + missing


def overlay_caption(site: SiteInspection) -> str:
    """Return the span of a site's gates on this image, and the range that they can take."""
    low, high = float(site.overlay.min()), float(site.overlay.max())
    floor, ceiling = site.spatial_range
    text = f'{low:.3f} to {high:.3f} of ({floor:g}, {ceiling:g})'
    return f'{text}, nearly even' if high - low < NEARLY_EVEN * (ceiling - floor) else text


def cam_caption(inspection: ImageInspection, number: int) -> str:
    """Return which detection a Grad-CAM explains, and its maximum."""
    highest = float(inspection.cams[number].max())
    text = f'Grad-CAM of {detection_label(inspection, number)}, up to {highest:.2g}'
    return text if highest > 0 else f'{text}: nothing at {inspection.cam_layer} speaks for it'


def detection_label(inspection: ImageInspection, number: int) -> str:
    """Return the class and score of a detection."""
    detections = inspection.detections
    return f'{_class_name(inspection, int(detections.labels[number]))} {detections.scores[number]:.2f}'


def _class_name(inspection: ImageInspection, label: int) -> str:
    return inspection.classes[label] if label < len(inspection.classes) else str(label)


def _blend(image: np.ndarray, values: np.ndarray, low: float, high: float) -> np.ndarray:
    grey = np.asarray(Image.fromarray(image).convert('L'))[..., None] / 255
    colours = COLOUR_MAP(Normalize(low, high)(values))[..., :3]
    return ((_OPACITY * colours + (1 - _OPACITY) * grey) * 255).round().astype(np.uint8)
