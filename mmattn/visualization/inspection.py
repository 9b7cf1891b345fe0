"""Run a detector on one image and keep what it detects and what its attention does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmattn.visualization.frame import InputFrame
from mmattn.visualization.gate_views import (
    CHANNEL_GATES,
    SPATIAL_GATES,
    channel_views,
    spatial_view,
    view_range,
)
from mmattn.visualization.gradcam import grad_cam
from mmattn.visualization.recording import record_gates
from mmattn.visualization.sources import GateSource

_KEPT_CHANNELS = 4


class ChannelMap(NamedTuple):
    """One channel of a block's map.

    Attributes:
        channel: Index of the channel.
        gate: The gate that the block multiplies it by.
        values: The channel ``(H, W)`` before the gate is applied.
    """

    channel: int
    gate: float
    values: np.ndarray


@dataclass
class SiteInspection:
    """What one block did on one image.

    Attributes:
        name: Name of the block's site; ``[i]`` is appended if the block was called more than once.
        block: Class name of the block.
        spatial_range: Lowest and highest value that ``spatial`` can take.
        channel_range: Lowest and highest value that ``channels`` can take.
        gates: The gates themselves, by name, with the batch dimension. An ``element`` gate is replaced by its
            means over channels and over positions.
        channels: Factor of each channel ``(C,)``, by view.
        map_shape: ``(C, H, W)`` of the block's map; ``(C, 0, 0)`` if it is a batch of regions.
        spatial: Factor at each position ``(H, W)``; ``None`` if the block treats all positions alike.
        overlay: ``spatial`` at the scale of the image; ``None`` also if the map does not cover the image,
            as in a head that sees regions.
        opened: Channels with the largest gates.
        closed: Channels with the smallest gates.
    """

    name: str
    block: str
    spatial_range: tuple[float, float]
    channel_range: tuple[float, float]
    gates: dict[str, np.ndarray]
    channels: dict[str, np.ndarray]
    map_shape: tuple[int, int, int]
    spatial: np.ndarray | None = None
    overlay: np.ndarray | None = None
    opened: list[ChannelMap] = field(default_factory=list)
    closed: list[ChannelMap] = field(default_factory=list)


@dataclass
class ImageInspection:
    """What one detector does on one image.

    Attributes:
        name: Name of the image.
        image: RGB image ``(h, w, 3)``, its long side scaled to 640 pixels.
        detections: Detections, highest score first: ``bboxes`` in pixels of ``image``, ``scores``,
            ``labels``, and ``indices`` into the detector's own list. Masks are left out.
        classes: Names of the classes.
        sites: One entry per call of a block, in the order of the calls.
        contrast: For each site with an overlay and each detection, the mean of the overlay inside the box
            minus the mean outside; NaN if the box covers the whole image.
        cam_layer: Module that ``cams`` were computed at.
        cams: Grad-CAM of the detections with the highest scores, at the scale of ``image``.
    """

    name: str
    image: np.ndarray
    detections: InstanceData
    classes: tuple[str, ...]
    sites: list[SiteInspection]
    contrast: np.ndarray
    cam_layer: str = ''
    cams: list[np.ndarray] = field(default_factory=list)

    @property
    def overlaid_sites(self) -> list[SiteInspection]:
        """The sites that have an overlay."""
        return [site for site in self.sites if site.overlay is not None]


def inspect_image(
    model: nn.Module,
    image: np.ndarray,
    data: dict,
    name: str,
    classes: Sequence[str] = (),
    score_thr: float = 0.3,
    sources: list[GateSource] | None = None,
    cam_layer: str = '',
    num_cams: int = 3,
) -> ImageInspection:
    """Run a detector on one image and inspect its attention.

    Args:
        model: Detector in eval mode.
        image: RGB image ``(h, w, 3)`` before the test pipeline.
        data: The output of the test pipeline as a batch of one: ``inputs`` and ``data_samples``.
        name: Name of the image.
        classes: Names of the classes.
        score_thr: Leave out detections with a lower score.
        sources: Inspect only these of :func:`~mmattn.visualization.sources.gate_sources`.
        cam_layer: Also compute Grad-CAM at this module; see :func:`~mmattn.visualization.gradcam.grad_cam`.
        num_cams: Compute Grad-CAM for at most this many detections, highest score first.
    """
    with torch.no_grad(), record_gates(model, _inspect_site, sources) as recorded:
        sample = model.test_step(data)[0]
    repeated = {each.source.name for each in recorded if each.call}
    sites = []
    for each in recorded:
        site = each.value
        site.name = f'{each.source.name}[{each.call}]' if each.source.name in repeated else each.source.name
        sites.append(site)
    frame = InputFrame(image, sample.metainfo)
    scaled = frame.scaled(image)
    for site in sites:
        in_regions = site.name.startswith('roi_head.')  # one region on a square image would fit the input
        if site.spatial is not None and not in_regions and frame.covers_input(site.map_shape):
            site.overlay = frame.overlay(site.spatial)
        for maps in (site.opened, site.closed):
            maps[:] = [each._replace(values=frame.without_padding(each.values)) for each in maps]
    detections = _detections(
        sample, score_thr, scaled.shape[1] / image.shape[1], scaled.shape[0] / image.shape[0]
    )
    cams = []
    if cam_layer and len(detections):
        cams = grad_cam(model, data, cam_layer, detections.indices[:num_cams].tolist())
    contrast = np.array(
        [
            [inside_minus_outside(site.overlay, box) for box in detections.bboxes.numpy()]
            for site in sites
            if site.overlay is not None
        ]
    )
    return ImageInspection(
        name,
        scaled,
        detections,
        tuple(classes),
        sites,
        contrast,
        cam_layer,
        [frame.overlay(_array(each)) for each in cams],
    )


def inside_minus_outside(values: np.ndarray, box: Iterable[float]) -> float:
    """Return the mean of ``values`` inside a box minus their mean outside it.

    Args:
        values: Array ``(h, w)``.
        box: ``(x1, y1, x2, y2)`` in pixels; a box smaller than a pixel counts as that pixel.

    Returns:
        The difference; NaN if nothing is outside the box.
    """
    h, w = values.shape
    x1, y1, x2, y2 = box
    left, top = min(max(int(x1), 0), w - 1), min(max(int(y1), 0), h - 1)
    right, bottom = max(min(int(np.ceil(x2)), w), left + 1), max(min(int(np.ceil(y2)), h), top + 1)
    inside = np.zeros(values.shape, bool)
    inside[top:bottom, left:right] = True
    return float(values[inside].mean() - values[~inside].mean()) if not inside.all() else float('nan')


def _inspect_site(source: GateSource, x: Tensor, gates: dict[str, Tensor]) -> SiteInspection:
    channels = x.shape[1] if 'branch' not in gates else gates['branch'].shape[2]
    spatial, views = spatial_view(gates, channels), channel_views(gates, channels)
    site = SiteInspection(
        name=source.name,
        block=type(source.block).__name__,
        spatial_range=view_range(source.block, gates, SPATIAL_GATES),
        channel_range=view_range(source.block, gates, CHANNEL_GATES),
        gates={name: _array(gate) for name, gate in gates.items() if name != 'element'},
        channels={view: _array(gate.mean(0)) for view, gate in views.items()},
        map_shape=tuple(x.shape[1:]) if len(x) == 1 else (x.shape[1], 0, 0),
    )
    if 'element' in gates:
        site.gates['element_mean_over_channels'] = _array(spatial)
        site.gates['element_mean_over_positions'] = _array(views['channel'])
    if len(x) == 1:
        site.spatial = None if spatial is None else _array(spatial[0])
        if 'channel' in views and views['channel'].shape[1] == x.shape[1] > 1:
            gate = views['channel'][0]
            order = gate.argsort()
            kept = min(_KEPT_CHANNELS, x.shape[1] // 2)
            site.opened = [ChannelMap(int(c), float(gate[c]), _array(x[0, c])) for c in order.flip(0)[:kept]]
            site.closed = [ChannelMap(int(c), float(gate[c]), _array(x[0, c])) for c in order[:kept]]
    return site


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def _detections(sample, score_thr: float, x_scale: float, y_scale: float) -> InstanceData:
    if 'pred_instances' not in sample:  # a model for semantic or panoptic segmentation
        none = torch.zeros(0, dtype=torch.long)
        return InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=none, indices=none)
    instances = sample.pred_instances.cpu()
    keep = instances.scores >= score_thr
    scales = torch.tensor([x_scale, y_scale, x_scale, y_scale])
    kept = InstanceData(
        bboxes=_upright(instances.bboxes[keep].float()) * scales,
        scores=instances.scores[keep],
        labels=instances.labels[keep],
        indices=keep.nonzero()[:, 0],
    )
    return kept[kept.scores.argsort(descending=True)] if len(kept) else kept


def _upright(boxes: Tensor) -> Tensor:
    """Return boxes by their corners. Around a rotated one, of centre, size and angle, it is upright."""
    if boxes.shape[1] != 5:
        return boxes
    (width, height), cos, sin = boxes[:, 2:4].T, boxes[:, 4].cos().abs(), boxes[:, 4].sin().abs()
    half = torch.stack([width * cos + height * sin, width * sin + height * cos], 1) / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], 1)
