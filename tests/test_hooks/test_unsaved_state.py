"""What a process has beside a checkpoint is gathered and put back."""

import copy
from types import SimpleNamespace

import numpy as np
from mmdet.models import BatchSyncRandomResize, DynamicRoIHead
from mmengine.hooks import EMAHook
from torch import nn

from mmattn.hooks import unsaved_state
from mmattn.hooks.unsaved_state import gather_unsaved, restore_unsaved


class Learning(DynamicRoIHead):
    """The attributes of MMDetection's head, without the head."""

    def __init__(self):
        nn.Module.__init__(self)
        self.iou_history, self.beta_history = [], []
        self.bbox_assigner = SimpleNamespace(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5)
        self.bbox_head = nn.Module()
        self.bbox_head.loss_bbox = SimpleNamespace(beta=1.0)


Learning.__name__ = 'DynamicRoIHead'


def runner_of(**modules):
    return SimpleNamespace(model=nn.ModuleDict(modules), hooks=[])


def test_what_mmdetections_modules_learn_is_put_back():
    runner = runner_of(resize=BatchSyncRandomResize((64, 128)), head=Learning())
    fresh = copy.deepcopy(runner)
    runner.model['resize']._input_size = (96, 64)
    head = runner.model['head']
    head.iou_history, head.bbox_head.loss_bbox.beta = [np.float64(0.25)], np.float64(0.5)
    head.bbox_assigner.pos_iou_thr = 0.75
    (unsaved,) = gather_unsaved(runner)
    assert all(type(value) is not np.float64 for value in unsaved['attributes'].values())
    restore_unsaved(fresh, unsaved)
    assert fresh.model['resize']._input_size == (96, 64)
    head = fresh.model['head']
    assert (head.iou_history, head.bbox_head.loss_bbox.beta, head.bbox_assigner.pos_iou_thr) == (
        [0.25],
        0.5,
        0.75,
    )
    assert (head.beta_history, head.bbox_assigner.neg_iou_thr) == ([], 0.5)


def test_the_attributes_are_those_of_mmdetection():
    """MMDetection's code uses each of them."""
    import inspect

    source = inspect.getsource(DynamicRoIHead)
    for path in unsaved_state._ATTRIBUTES['DynamicRoIHead']:
        assert f'self.{path}' in source, path
    assert '_input_size' in vars(BatchSyncRandomResize((64, 128)))


def test_norms_that_differ_by_process_are_kept_by_process(monkeypatch):
    def process(mean):
        runner = runner_of(norm=nn.BatchNorm1d(2))
        runner.model['norm'].running_mean.fill_(mean)
        hook = EMAHook()
        hook.before_run(runner)
        runner.hooks = [hook]
        return runner

    def own(runner):
        with monkeypatch.context() as patch:
            patch.setattr(unsaved_state, 'all_gather_object', lambda own: gathered.append(own) or [own])
            gather_unsaved(runner)

    gathered = []
    for mean in (1.0, 2.0):
        own(process(mean))
    monkeypatch.setattr(unsaved_state, 'all_gather_object', lambda own: gathered)
    first, second = gather_unsaved(process(1.0))
    assert first['buffers'] == {}
    assert sorted(second['buffers']) == ['0.norm.running_mean', '1.module.norm.running_mean']
    loaded = process(1.0)  # rank 0's, which is in the checkpoint
    restore_unsaved(loaded, second)
    assert loaded.model['norm'].running_mean.tolist() == [2, 2]
    assert loaded.hooks[0].ema_model.module['norm'].running_mean.tolist() == [2, 2]
