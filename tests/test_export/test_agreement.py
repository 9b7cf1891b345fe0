"""Detections are matched one to one."""

import torch
from mmengine.structures import InstanceData

from mmattn.export.agreement import Agreement


def instances(*rows):
    rows = torch.tensor(rows).reshape(-1, 6)
    return InstanceData(bboxes=rows[:, :4], scores=rows[:, 4], labels=rows[:, 5].long())


def test_each_detection_is_matched_once():
    box = [0.0, 0, 100, 100]
    agreement = Agreement()
    agreement.add(
        instances([*box, 0.9, 0], [*box, 0.9, 0], [*box, 0.5, 1]),
        instances([0, 0, 100, 100.01, 0.90005, 0], [*box, 0.5, 0]),
    )
    assert (agreement.detections, agreement.others, agreement.matched) == (3, 2, 1)
    assert agreement.share == 0.4 and 0.009 < agreement.corner < 0.011 and 4e-5 < agreement.score < 6e-5
    assert len(agreement.unmatched) == 3 and {row[0] for row in agreement.unmatched} == {0}
    agreement.add(instances(), instances())
    assert agreement.images == 2 and agreement.matched == 1


def test_nothing_agrees_with_nothing():
    agreement = Agreement()
    agreement.add(instances(), instances())
    assert agreement.share == 1
