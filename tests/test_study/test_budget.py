import pytest
from mmengine.config import Config

from mmattn.study.budget import set_budget


def config(**more):
    schedule = [
        dict(type='LinearLR', by_epoch=False, begin=0, end=500),
        dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11]),
    ]
    return Config(
        dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12), param_scheduler=schedule) | more
    )


def test_the_budget_is_the_length_of_training():
    cfg = config()
    set_budget(cfg, None, False)
    set_budget(cfg, dict(max_epochs=12), False)
    assert cfg.to_dict() == config().to_dict()
    set_budget(cfg, dict(max_epochs=3), True)
    assert cfg.train_cfg.max_epochs == 3


def test_a_schedule_for_another_length_is_refused():
    with pytest.raises(
        ValueError, match=r'made for max_epochs=12: MultiStepLR has \[12, None, 8, 11\]. Give'
    ):
        set_budget(config(), dict(max_epochs=3), False)
    cosine = dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=1000, T_max=900)
    cfg = config(train_cfg=dict(type='IterBasedTrainLoop', max_iters=1000), param_scheduler=dict(a=[cosine]))
    with pytest.raises(ValueError, match='made for max_iters=1000: CosineAnnealingLR has'):
        set_budget(cfg, dict(max_iters=2000), False)


def test_what_is_no_budget_is_refused():
    for budget in (12, dict(epochs=12), dict(max_epochs=12, max_iters=4)):
        with pytest.raises(
            ValueError, match=r'budget is dict\(max_epochs=12\) or dict\(max_iters=1000\); got'
        ):
            set_budget(config(), budget, False)
    with pytest.raises(ValueError, match='max_epochs is a whole number from 1; got 0'):
        set_budget(config(), dict(max_epochs=0), False)
    with pytest.raises(ValueError, match='the loop of the config, EpochBasedTrainLoop, has no max_iters'):
        set_budget(config(), dict(max_iters=10), False)
