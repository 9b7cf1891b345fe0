"""Overlays and boxes drawn over an image."""

import numpy as np
import pytest
import torch

from mmattn.visualization.frame import LONG_SIDE
from mmattn.visualization.overlays import (
    channel_heat,
    colour_range,
    draw_channel_heat,
    draw_detections,
    draw_overlay,
    overlay_caption,
)
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


def test_channel_gates_as_a_heat_map(wide):
    """A row for each site, its first channel at the left; the image's size."""
    found = inspect(preprocessed(block='mmattn.SE'), wide)
    for number, site in enumerate(found.sites):
        channels = np.linspace(0, 1, len(site.channels['channel']), dtype=np.float32)
        site.channels = {'channel': channels if number % 2 else channels[::-1]}
    names, heat, ends = channel_heat(found)
    assert [name.partition(' ')[0] for name in names] == [site.name for site in found.sites]
    assert names[-1].endswith(f'({len(found.sites[-1].channels["channel"])})') and ends == (0, 1)
    assert (heat[::2, 0] == 1).all() and (heat[1::2, 0] == 0).all()
    drawn = draw_channel_heat(found)
    assert drawn.shape == found.image.shape
    yellow, purple = (253, 231, 37), (68, 1, 84)  # the ends of viridis, as published
    assert (np.abs(drawn[0, 0].astype(int) - yellow) <= 1).all()
    assert (np.abs(drawn[-1, 0].astype(int) - purple) <= 1).all()
