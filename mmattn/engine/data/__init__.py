"""Check data sets in COCO format before training, and read right what exporters write otherwise.

A rule is a function of an :class:`~mmattn.engine.data.examination.Examination` that yields findings and
repairs what is certain; ``examine.py`` has them in order.
"""

from mmattn.engine.data.check import check_data, image_paths, prepare_data
from mmattn.engine.data.copies import restore_given
from mmattn.engine.data.findings import DataRefused, Finding
from mmattn.engine.data.loaded import check_loaded, loading_explained
from mmattn.engine.data.reading import classes_instead, read_classes

__all__ = [
    'DataRefused',
    'Finding',
    'check_data',
    'check_loaded',
    'classes_instead',
    'image_paths',
    'loading_explained',
    'prepare_data',
    'read_classes',
    'restore_given',
]
