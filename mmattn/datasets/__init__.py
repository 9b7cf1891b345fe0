from .loading import LoadImageFromFile
from .shapes import ShapesSettings, make_shapes

__all__ = ['LoadImageFromFile', 'ShapesSettings', 'make_shapes']
