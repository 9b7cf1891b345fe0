"""Boxes chosen by score, with places that stay empty."""

import torch

from mmattn.export.selection import above, best, clipped, detections, large_enough


def test_what_is_too_few_is_filled_up():
    scores, places = best(torch.tensor([[0.1, 0.5, -1.0], [-1.0, -1.0, -1.0]]), 4)
    torch.testing.assert_close(scores, torch.tensor([[0.5, 0.1, -1, -1], [-1] * 4]))
    assert places.tolist() == [[1, 0, 0, 0], [0] * 4]


def test_thresholds_are_exclusive():
    assert above(torch.tensor([0.5, 0.6]), 0.5)[0] == -1
    boxes = torch.tensor([[0.0, 0, 5, 4], [0, 0, 5, 5], [3, 3, 3, 9]])
    assert large_enough(boxes, torch.ones(3), 4).tolist() == [-1, 1, -1]
    assert large_enough(boxes, torch.ones(3), 0).tolist() == [1, 1, -1]
    assert large_enough(boxes, torch.ones(3), -1).tolist() == [1, 1, 1]


def test_clipping():
    assert clipped(torch.tensor([[-3.0, 2, 50, 60]]), 40, 30).tolist() == [[0, 2, 30, 40]]


def test_detections_by_score():
    boxes = torch.arange(12.0).view(1, 3, 4)
    dets, labels = detections(boxes, torch.tensor([[0.25, -1, 0.5]]), torch.tensor([[7, 8, 9]]), 3)
    assert dets[0].tolist() == [[8, 9, 10, 11, 0.5], [0, 1, 2, 3, 0.25], [-1] * 5]
    assert labels.tolist() == [[9, 7, -1]]
