"""A schedule that is longer than the training is told."""

import pytest
from mmengine.config import Config

from mmattn.engine import check_schedule


@pytest.fixture
def logged(monkeypatch):
    found = []
    monkeypatch.setattr(check_schedule, 'print_log', lambda text, **options: found.append(text))
    return found


def steps(*milestones, **options):
    return dict(type='MultiStepLR', milestones=list(milestones), **options)


WARMUP = dict(type='LinearLR', by_epoch=False, end=500)


@pytest.mark.parametrize(
    'loop, schedule, says',
    [
        (
            dict(max_epochs=6),
            [WARMUP, steps(16, 22)],
            'param_scheduler.1 lowers the learning rate after epoch 16, 22',
        ),
        (dict(max_epochs=16), [steps(16, 22)], 'param_scheduler.0 lowers'),
        (dict(max_epochs=6), steps(8), 'param_scheduler lowers'),
        (
            dict(max_iters=100),
            [steps(900, by_epoch=False)],
            'after iteration 900, but training ends after 100',
        ),
        (dict(max_epochs=17), [WARMUP, steps(16, 22)], None),
        (dict(max_iters=100), [steps(16)], None),  # MMEngine takes epochs there too
        (dict(max_epochs=1), [steps(16)], None),  # a first try
        (dict(max_epochs=6), [], None),
        (None, None, None),
    ],
)
def test_milestones_after_the_end(loop, schedule, says, logged):
    check_schedule.warn_of_late_milestones(Config(dict(train_cfg=loop, param_scheduler=schedule)))
    assert len(logged) == (says is not None) and (says is None or says in logged[0])


def test_the_remedy_is_before_the_end(logged):
    check_schedule.warn_of_late_milestones(
        Config(dict(train_cfg=dict(max_epochs=3), param_scheduler=[steps(16)]))
    )
    assert logged[0].endswith('--cfg-options param_scheduler.0.milestones="[2]" lowers it earlier')
