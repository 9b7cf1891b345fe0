"""The generated shapes data set, and loading of images with errors that name the file."""

from mmattn.datasets.loading import LoadImageFromFile
from mmattn.datasets.shapes import ShapesSettings, make_shapes

__all__ = ['LoadImageFromFile', 'ShapesSettings', 'make_shapes']
