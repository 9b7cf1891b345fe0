"""What a detector finds in a picture, and what its attention does there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mmattn.visualization.gates import (
    OF_CHANNELS,
    OF_POSITIONS,
    Source,
    channel_views,
    record_gates,
    spatial_view,
    view_ends,
)
from mmattn.visualization.grad_cam import grad_cam

SHOWN = 640
"""Pixels of the longer side of a picture as it is drawn, whether that is larger or smaller."""
CHANNELS = 4
"""How many of the most open channels are kept, and of the most closed."""


@dataclass
class SiteLook:
    """What one block did on one picture.

    Attributes:
        name: Of its site; with ``[i]`` behind it where it was called several times.
        kind: Class of the block.
        ends: The range of :attr:`spatial`: that of a gate, or of a product of several.
        channel_ends: The range of :attr:`channels`.
        gates: They themselves, without the batch; of gates of each element, the two views.
        channels: By name, what multiplies each channel, ``(C,)``.
        shape: ``(C, H, W)`` of its map.
        spatial: What multiplies each position, ``(H, W)``; ``None`` without a gate of positions.
        overlay: The same at the scale of :attr:`Look.picture`; also ``None`` where the map is not one of the
            picture, as in a head for regions.
        opened: The channels with the largest gate: ``(channel, gate, map (H, W))``.
        closed: Those with the smallest.
    """

    name: str
    kind: str
    ends: tuple[float, float]
    channel_ends: tuple[float, float]
    gates: dict[str, np.ndarray]
    channels: dict[str, np.ndarray]
    shape: tuple[int, int, int]
    spatial: np.ndarray | None = None
    overlay: np.ndarray | None = None
    opened: list[tuple[int, float, np.ndarray]] = field(default_factory=list)
    closed: list[tuple[int, float, np.ndarray]] = field(default_factory=list)


@dataclass
class Look:
    """One picture as one detector sees it.

    Attributes:
        name: Of the picture.
        picture: RGB, ``(h, w, 3)``, undistorted, :data:`SHOWN` pixels long.
        found: What the detector found there: ``bboxes`` (in pixels of :attr:`picture`), ``scores``,
            ``labels``, ``places`` (among all
            that it found), the surest first; masks are left out.
        classes: Names of the classes.
        sites: In the order in which they ran.
        contrast: Mean of a site's overlay within a box less that outside of it, ``(sites with an overlay,
            found)``; NaN where a box leaves nothing outside.
        cam_layer: Where the maps of :attr:`cams` come from.
        cams: Grad-CAM of the surest detections, at the scale of :attr:`picture`.
    """

    name: str
    picture: np.ndarray
    found: InstanceData
    classes: tuple[str, ...]
    sites: list[SiteLook]
    contrast: np.ndarray
    cam_layer: str = ''
    cams: list[np.ndarray] = field(default_factory=list)

    @property
    def overlaid(self) -> list[SiteLook]:
        """The sites that have an overlay."""
        return [site for site in self.sites if site.overlay is not None]


def look(
    model: nn.Module,
    picture: np.ndarray,
    data: dict,
    name: str,
    classes: Sequence[str] = (),
    score: float = 0.3,
    sources: list[Source] | None = None,
    cam_layer: str = '',
    cams: int = 3,
) -> Look:
    """Run a detector on one picture and see what its attention does.

    Args:
        model: A detector in eval mode.
        picture: RGB ``(h, w, 3)``, as it is on the disk.
        data: What its test pipeline makes of that, as a batch of one: ``inputs`` and ``data_samples``.
        name: Of the picture.
        classes: Names of the classes.
        score: Detections below it are left out.
        sources: Only these blocks, of :func:`~mmattn.visualization.gates.gate_sources`.
        cam_layer: Also Grad-CAM at this module, see :func:`~mmattn.visualization.grad_cam.grad_cam`.
        cams: Of how many detections.
    """
    with torch.no_grad(), record_gates(model, _site, sources) as recorded:
        sample = model.test_step(data)[0]
    several = {each.source.name for each in recorded if each.call}
    sites = []
    for each in recorded:
        site = each.value
        site.name = f'{each.source.name}[{each.call}]' if each.source.name in several else each.source.name
        sites.append(site)
    frame = _Frame(picture, sample.metainfo)
    shown = frame.shown(picture)
    for site in sites:
        in_regions = site.name.startswith('roi_head.')  # one region on a square picture would pass
        if site.spatial is not None and not in_regions and frame.is_of_picture(site.shape):
            site.overlay = frame.overlay(site.spatial)
        for maps in (site.opened, site.closed):
            maps[:] = [(channel, gate, frame.without_padding(values)) for channel, gate, values in maps]
    found = _found(sample, score, shown.shape[1] / picture.shape[1], shown.shape[0] / picture.shape[0])
    maps = grad_cam(model, data, cam_layer, found.places[:cams].tolist()) if cam_layer and len(found) else []
    contrast = np.array(
        [
            [inside_outside(site.overlay, box) for box in found.bboxes.numpy()]
            for site in sites
            if site.overlay is not None
        ]
    )
    return Look(
        name,
        shown,
        found,
        tuple(classes),
        sites,
        contrast,
        cam_layer,
        [frame.overlay(_array(each)) for each in maps],
    )


def inside_outside(values: np.ndarray, box: Iterable[float]) -> float:
    """Mean of ``values (h, w)`` within ``box`` (x1, y1, x2, y2, in pixels) less that outside of it."""
    h, w = values.shape
    x1, y1, x2, y2 = box
    left, top = min(max(int(x1), 0), w - 1), min(max(int(y1), 0), h - 1)
    right, bottom = max(min(int(np.ceil(x2)), w), left + 1), max(min(int(np.ceil(y2)), h), top + 1)
    inside = np.zeros(values.shape, bool)
    inside[top:bottom, left:right] = True
    return float(values[inside].mean() - values[~inside].mean()) if not inside.all() else float('nan')


def _site(source: Source, x: Tensor, gates: dict[str, Tensor]) -> SiteLook:
    channels = x.shape[1] if 'branch' not in gates else gates['branch'].shape[2]
    spatial, views = spatial_view(gates, channels), channel_views(gates, channels)
    site = SiteLook(
        name=source.name,
        kind=type(source.block).__name__,
        ends=view_ends(source.block, gates, OF_POSITIONS),
        channel_ends=view_ends(source.block, gates, OF_CHANNELS),
        gates={kind: _array(gate) for kind, gate in gates.items() if kind != 'element'},
        channels={view: _array(gate.mean(0)) for view, gate in views.items()},
        shape=tuple(x.shape[1:]) if len(x) == 1 else (x.shape[1], 0, 0),
    )
    if 'element' in gates:
        site.gates['element_mean_over_channels'] = _array(spatial)
        site.gates['element_mean_over_positions'] = _array(views['channel'])
    if len(x) == 1:
        site.spatial = None if spatial is None else _array(spatial[0])
        if 'channel' in views and views['channel'].shape[1] == x.shape[1] > 1:
            order = views['channel'][0].argsort()
            number = min(CHANNELS, x.shape[1] // 2)
            for chosen, target in ((order.flip(0), site.opened), (order, site.closed)):
                target += [(int(c), float(views['channel'][0, c]), _array(x[0, c])) for c in chosen[:number]]
    return site


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


class _Frame:
    """Where a picture lies in the detector's input: scaled, and padded on the right and below."""

    def __init__(self, picture: np.ndarray, meta: dict):
        h, w = picture.shape[:2]
        self.padded = tuple(meta.get('batch_input_shape') or meta.get('pad_shape') or meta['img_shape'])[:2]
        # Not img_shape, which a Pad in the pipeline changes.
        scale_w, scale_h = meta.get('scale_factor') or (self.padded[1] / w, self.padded[0] / h)
        self.content = (min(round(h * scale_h), self.padded[0]), min(round(w * scale_w), self.padded[1]))
        scale = SHOWN / max(h, w)
        self.size = max(round(h * scale), 1), max(round(w * scale), 1)

    def shown(self, picture: np.ndarray) -> np.ndarray:
        values = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
        resized = interpolate(values, self.size, mode='bilinear', antialias=True, align_corners=False)
        return resized[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()

    def is_of_picture(self, shape: tuple[int, int, int]) -> bool:
        """Whether a map of this shape covers the detector's input: one stride fits both sides."""
        h, w = shape[1:]
        if not h or not w:
            return False
        low, high = (
            max(self.padded[0] / (h + 1), self.padded[1] / (w + 1)),
            min(self.padded[0] / max(h - 1, 0.5), self.padded[1] / max(w - 1, 0.5)),
        )
        return low <= high

    def without_padding(self, values: np.ndarray) -> np.ndarray:
        if not self.is_of_picture((1, *values.shape)):
            return values
        h, w = (
            -(-side * content // padded)
            for side, content, padded in zip(values.shape, self.content, self.padded)
        )
        return values[:h, :w]

    def overlay(self, values: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(values)[None, None]
        full = interpolate(tensor, self.padded, mode='bilinear', align_corners=False)
        content = full[..., : self.content[0], : self.content[1]]
        return interpolate(content, self.size, mode='bilinear', align_corners=False)[0, 0].numpy()


def _found(sample, score: float, x_scale: float, y_scale: float) -> InstanceData:
    if 'pred_instances' not in sample:  # a model of semantic or panoptic segmentation
        none = torch.zeros(0, dtype=torch.long)
        return InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=none, places=none)
    instances = sample.pred_instances.cpu()
    keep = instances.scores >= score
    scales = torch.tensor([x_scale, y_scale, x_scale, y_scale])
    kept = InstanceData(
        bboxes=instances.bboxes[keep].float() * scales,
        scores=instances.scores[keep],
        labels=instances.labels[keep],
        places=keep.nonzero()[:, 0],
    )
    return kept[kept.scores.argsort(descending=True)] if len(kept) else kept
