"""A whole detector as one module of tensors: images in, detections out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmattn._private_apis import swaps_channels


class DetectorGraph(nn.Module):
    """A detector from the image to the detections.

    Args:
        model: A detector of MMDetection.
        head: What makes detections of its maps: called with the maps, the height and the width.
        normalize: Whether the image comes as MMDetection's pipeline leaves it, and is normalised here.
            Otherwise it comes normalised.

    Shape:
        - Input: ``(N, 3, H, W)``; images of one size, which is padded here to what the detector needs.
        - Output: ``dets (N, K, 5)``, corners in pixels of the input and score; ``labels (N, K)``. Rows come
          by score, and are -1 after the last detection.
    """

    def __init__(self, model: nn.Module, head: nn.Module, normalize: bool = True):
        super().__init__()
        self.model = model
        self.head = head
        self.normalize = normalize

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        height, width = image.shape[-2:]
        if self.normalize:
            image = normalized(self.model.data_preprocessor, image)
        image = padded(self.model.data_preprocessor, image)
        return self.head(self.model.extract_feat(image), height, width)


def normalized(preprocessor: nn.Module, image: Tensor) -> Tensor:
    """Do what a preprocessor of MMEngine does to the values of images."""
    if swaps_channels(preprocessor):
        image = image.flip(1)
    mean = getattr(preprocessor, 'mean', None)
    return image if mean is None else (image - mean) / preprocessor.std


def padded(preprocessor: nn.Module, image: Tensor) -> Tensor:
    """Pad images at the right and at the bottom to a multiple of the preprocessor's divisor."""
    divisor = preprocessor.pad_size_divisor
    if divisor == 1:
        return image
    height, width = image.shape[-2:]
    below, beside = -height % divisor, -width % divisor
    return F.pad(image, [0, beside, 0, below], value=float(preprocessor.pad_value))
