"""How a config's pipeline decodes images, and which size an image then has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mmcv

from mmattn.datasets.image_header import ImageHeader
from mmattn.datasets.loading import is_cut_off


@dataclass(frozen=True)
class ImageLoader:
    """The options of a ``LoadImageFromFile`` that decide how an image is decoded.

    Args:
        where: The transform in the config.
        color_type: mmcv's option.
        backend: mmcv's ``imdecode_backend``.
    """

    where: str
    color_type: str = 'color'
    backend: str = 'cv2'

    @property
    def turns(self) -> bool:
        """Whether images are turned as EXIF says."""
        return self.backend in ('cv2', 'pillow') and self.color_type in ('color', 'grayscale')

    def expected_size(self, header: ImageHeader) -> tuple[int, int]:
        """Return the width and height that an image should have when decoded, by its header."""
        size = header.width, header.height
        return size[::-1] if self.turns and header.is_quarter_turned else size

    def decode(self, path: str) -> Any:
        """Return the image as the pipeline would have it.

        Raises:
            ValueError: If it cannot be decoded or was cut off.
        """
        try:
            with open(path, 'rb') as file:
                data = file.read()
        except OSError as error:
            raise ValueError(f'it cannot be read: {error.strerror}') from error
        try:
            image = mmcv.imfrombytes(data, flag=self.color_type, backend=self.backend)
        except Exception as error:
            raise ValueError(f'{self.backend} cannot decode it') from error
        if image is None:
            raise ValueError(f'{self.backend} cannot decode it')
        if is_cut_off(data):
            raise ValueError('it is cut off')
        return image

    def decoded_size(self, path: str) -> tuple[int, int] | None:
        """Return the width and height that an image has when decoded; None if it cannot be."""
        try:
            return self.decode(path).shape[1::-1]
        except ValueError:
            return None


def find_loader(pipeline: Any, where: str) -> ImageLoader | None:
    """Return how a pipeline loads images; None if no ``LoadImageFromFile`` does, or not from a disk."""
    for i, transform in enumerate(pipeline if isinstance(pipeline, (list, tuple)) else ()):
        if transform_name(transform) == 'LoadImageFromFile':
            if transform.get('backend_args') or transform.get('file_client_args'):
                return None
            return ImageLoader(
                f'{where}.{i}',
                transform.get('color_type', 'color'),
                transform.get('imdecode_backend') or 'cv2',
            )
    return None


def transform_name(transform: Any) -> str:
    """Return the name of a transform's class without its scope."""
    found = transform.get('type', '') if isinstance(transform, dict) else ''
    return found.rpartition('.')[2] if isinstance(found, str) else getattr(found, '__name__', '')


def find_transform(pipeline: Sequence[Any] | None, name: str) -> dict | None:
    """Return the first transform whose class has this name."""
    for transform in pipeline or ():
        if transform_name(transform) == name:
            return transform
    return None
