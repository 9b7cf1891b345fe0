"""Maps of a detector's input are mapped back to the image."""

import numpy as np
import pytest

from mmattn.visualization.frame import InputFrame


def test_an_image_is_neither_distorted_nor_moved():
    """The value of each gate is its own column, or row, in the detector's input."""
    image = np.zeros((50, 100, 3), np.uint8)
    frame = InputFrame(image, dict(batch_input_shape=(64, 128), img_shape=(64, 128), scale_factor=(1.2, 1.2)))
    assert frame.content == (60, 120) and frame.size == (320, 640)
    stride = 8
    columns = np.tile((np.arange(16, dtype=np.float32) + 0.5) * stride, (8, 1))
    rows = np.tile(((np.arange(8, dtype=np.float32) + 0.5) * stride)[:, None], (1, 16))
    inner = np.arange(40, 590)  # beside it, there is nothing to interpolate between
    np.testing.assert_allclose(frame.overlay(columns)[100, inner], (inner + 0.5) * 120 / 640, atol=0.05)
    inner = np.arange(40, 290)
    np.testing.assert_allclose(frame.overlay(rows)[inner, 100], (inner + 0.5) * 60 / 320, atol=0.05)
    assert frame.without_padding(columns).shape == (8, 15)


@pytest.mark.parametrize(
    'shape, fits',
    [
        ((4, 8, 16), True),
        ((4, 1, 1), True),
        ((4, 9, 17), True),
        ((4, 2, 4), True),
        ((4, 7, 7), False),
        ((4, 16, 8), False),
        ((4, 0, 0), False),
    ],
)
def test_which_maps_are_of_the_image(shape, fits):
    meta = dict(batch_input_shape=(64, 128), scale_factor=(1.2, 1.2))
    frame = InputFrame(np.zeros((50, 100, 3), np.uint8), meta)
    assert frame.covers_input(shape) is fits


@pytest.mark.parametrize('side, cropped', [(64, False), (66, True)])
def test_nothing_is_laid_over_an_image_that_was_cropped(side, cropped):
    """A classifier's centre crop: the gates are of a part of the image, and nobody says of which."""
    frame = InputFrame(
        np.zeros((50, 50, 3), np.uint8), dict(img_shape=(64, 64), scale_factor=(side / 50,) * 2)
    )
    assert frame.cropped is cropped and frame.covers_input((4, 8, 8)) is not cropped
