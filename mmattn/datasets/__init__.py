"""The generated shapes data set, and loading of images with errors that name the file."""

from mmattn.datasets.loading import LoadImageFromFile
from mmattn.datasets.shapes import make_shapes
from mmattn.datasets.shapes_settings import ShapesSettings

__all__ = ['LoadImageFromFile', 'ShapesSettings', 'make_shapes']
