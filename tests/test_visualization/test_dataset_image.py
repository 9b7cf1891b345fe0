"""An image of a data set is 8-bit RGB, however its pipeline decodes it."""

import cv2
import numpy as np
import pytest

from mmattn.engine.data.image_loader import ImageLoader
from mmattn.engine.data.sources import Source
from mmattn.visualization.dataset_image import dataset_image


def source(folder, loader=None):
    return Source('val', 'val_dataloader.dataset', 'val.json', str(folder), ('thing',), loader)


def test_colours_are_in_their_order(tmp_path):
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 2] = 200  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / 'red.png'), red)
    assert (dataset_image(source(tmp_path), 'red.png') == (200, 0, 0)).all()


def test_deep_and_grey_images_can_be_drawn_on(tmp_path):
    deep = np.full((4, 6), 65535, np.uint16)
    deep[0] = 0
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    pixels = dataset_image(source(tmp_path, ImageLoader('', 'unchanged')), 'deep.png')
    assert pixels.shape == (4, 6, 3) and pixels.dtype == np.uint8
    assert (pixels[0] == 0).all() and (pixels[1:] == 255).all()


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(ValueError, match='it cannot be read: No such file'):
        dataset_image(source(tmp_path), 'gone.png')
