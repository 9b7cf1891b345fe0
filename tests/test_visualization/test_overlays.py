"""Overlays and boxes drawn over an image."""

import numpy as np
import pytest
import torch

from mmattn.visualization.frame import LONG_SIDE
from mmattn.visualization.overlays import colour_range, draw_detections, draw_overlay, overlay_caption
from tests.test_visualization.helpers import inspect, preprocessed


@pytest.mark.parametrize('size', [(0.0, 0.0), (1.5, 1.5), (1.5, 9.0), (3.0, 3.0)])
def test_a_box_smaller_than_its_frame(size, wide):
    found = inspect(preprocessed(), wide)
    found.detections.bboxes[:, 2:] = found.detections.bboxes[:, :2] + torch.tensor(size)
    assert draw_detections(found).shape == found.image.shape


def test_even_gates_are_drawn_as_even():
    """The last bits of gates that are all alike must not look like attention."""
    values = np.full((4, 4), 1.0) + np.linspace(0, 1e-6, 16).reshape(4, 4)
    low, high = colour_range(values, (0.0, 2.0))
    assert high - low == pytest.approx(0.04) and low < 1 < high
    assert colour_range(np.array([0.2, 0.9]), (0.0, 1.0)) == (0.2, 0.9)


def test_colours_follow_the_gates(wide):
    found = inspect(preprocessed(), wide)
    site = found.overlaid_sites[0]
    site.overlay = np.tile(np.linspace(0, 1, LONG_SIDE, dtype=np.float32), (found.image.shape[0], 1))
    found.image[:] = 100
    drawn = draw_overlay(found, site).astype(int)
    first = np.array([0.267004, 0.004874, 0.329415])  # of viridis, as published
    assert (drawn[0, 0] == np.round(255 * (0.6 * first + 0.4 * 100 / 255))).all()
    assert drawn[0, -1, 0] > 150 > drawn[0, -1, 2]  # viridis ends yellow
    assert overlay_caption(site) == '0.000 to 1.000 of (0, 1)'
