"""Interleaved timing and peak memory."""

import time

import pytest
import torch

from mmattn.cost import (
    inference,
    peak_memory,
    time_interleaved,
    training_step,
)
from tests.test_cost.helpers import RESIDUAL
from tests.test_insertion.models import build, model_cfg, narrow


def test_functions_are_timed_interleaved():
    calls = []

    def function(name, seconds):
        def run():
            calls.append(name)
            time.sleep(seconds)

        return run

    functions = dict(a=function('a', 0.01), b=function('b', 0.03))
    found = time_interleaved(functions, repeats=4, warmup=1, images=2)
    assert ''.join(calls) == 'ab' + 'ba' + 'ab' + 'ba' + 'ab'
    assert len(found['a'].seconds) == 4 and found['a'].p10 <= found['a'].median <= found['a'].p90
    assert 2 < found['b'].ratio(found['a']) < 3.5
    assert found['b'].images_per_second == pytest.approx(2 / found['b'].median)


def test_peak_memory_is_that_of_the_allocator():
    def function():
        a = torch.empty(1000, 1000)
        b = a + 1
        del a
        return (b * 2).sum().item()

    assert 8e6 <= peak_memory(function) < 8.1e6


@pytest.mark.parametrize('detector', ['RetinaNet', 'FasterRCNN'])
def test_a_step_leaves_the_weights_as_they_are(detector):
    model = build(narrow(model_cfg(detector, insert=[RESIDUAL])))
    before = [p.clone() for p in model.parameters()]
    training_step(model, (64, 96), batch=2)()
    assert all(p.equal(b) for p, b in zip(model.parameters(), before))
    assert all(p.grad is not None for p in model.attention.parameters())
    assert len(inference(model, (64, 96), batch=2)()) == 2


def test_a_detector_of_one_class_is_timed():
    config = narrow(model_cfg('RetinaNet', insert=[RESIDUAL]))
    config['bbox_head']['num_classes'] = 1
    training_step(build(config), (64, 96), batch=2)()


def test_a_model_that_random_boxes_do_not_fit_is_refused_with_what_it_was_given():
    model = build(narrow(model_cfg('RetinaNet', insert=[RESIDUAL])))
    model.bbox_head.loss = lambda x, samples: samples[0].gt_label  # as a classifier's
    with pytest.raises(ValueError) as error:
        training_step(model, (64, 96))()
    assert str(error.value) == (
        'RetinaNetWithAttention cannot be timed: it was given random images with upright boxes, for '
        "detectors of MMDetection, and that raised AttributeError: 'DetDataSample' object has no attribute "
        "'gt_label'"
    )
