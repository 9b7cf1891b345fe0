"""Map values from a detector's input, which is scaled and padded, back to the image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn.functional import interpolate

LONG_SIDE = 640
"""Length in pixels to which the longer side of an image is scaled for drawing."""


class InputFrame:
    """Where an image lies in a detector's input: scaled, then padded on the right and at the bottom.

    Args:
        image: RGB image ``(h, w, 3)`` before the test pipeline.
        meta: Meta information that the pipeline and the data preprocessor wrote about it.

    Attributes:
        padded: Height and width of the input.
        content: Height and width of the part of the input that is not padding.
        size: Height and width at which the image is drawn.
        cropped: True if the input is a part of the image only, as in most classifiers' test pipelines.
    """

    def __init__(self, image: np.ndarray, meta: Mapping):
        h, w = image.shape[:2]
        self.padded = tuple(meta.get('batch_input_shape') or meta.get('pad_shape') or meta['img_shape'])[:2]
        # not img_shape: a Pad in the pipeline changes it
        scale_w, scale_h = meta.get('scale_factor') or (self.padded[1] / w, self.padded[0] / h)
        whole = round(h * scale_h), round(w * scale_w)
        # by more than rounding; where the crop lies, its transform does not say
        self.cropped = any(side > padded + 1 for side, padded in zip(whole, self.padded))
        self.content = (min(whole[0], self.padded[0]), min(whole[1], self.padded[1]))
        scale = LONG_SIDE / max(h, w)
        self.size = max(round(h * scale), 1), max(round(w * scale), 1)

    def scaled(self, image: np.ndarray) -> np.ndarray:
        """Return ``image`` at the size at which it is drawn."""
        values = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
        resized = interpolate(values, self.size, mode='bilinear', antialias=True, align_corners=False)
        return resized[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()

    def covers_input(self, shape: tuple[int, int, int]) -> bool:
        """Return True if a map ``(C, H, W)`` can cover the image: one stride fits both sides of the input."""
        h, w = shape[1:]
        if self.cropped or not h or not w:
            return False
        low, high = (
            max(self.padded[0] / (h + 1), self.padded[1] / (w + 1)),
            min(self.padded[0] / max(h - 1, 0.5), self.padded[1] / max(w - 1, 0.5)),
        )
        return low <= high

    def without_padding(self, values: np.ndarray) -> np.ndarray:
        """Cut the padding off a map ``(H, W)``; a map that does not cover the input is returned unchanged."""
        if not self.covers_input((1, *values.shape)):
            return values
        h, w = (
            -(-side * content // padded)
            for side, content, padded in zip(values.shape, self.content, self.padded)
        )
        return values[:h, :w]

    def overlay(self, values: np.ndarray) -> np.ndarray:
        """Resize a map ``(H, W)`` of the input to the drawn image, without the padding."""
        tensor = torch.from_numpy(values)[None, None]
        full = interpolate(tensor, self.padded, mode='bilinear', align_corners=False)
        content = full[..., : self.content[0], : self.content[1]]
        return interpolate(content, self.size, mode='bilinear', align_corners=False)[0, 0].numpy()
