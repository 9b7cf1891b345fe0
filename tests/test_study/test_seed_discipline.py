"""Runs of one seed share all that is not the variant: images, augmentation, initial weights, dropout."""

import json

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS
from torch import nn

from mmattn.study.config import read_study
from mmattn.study.plan import prepare_folders
from mmattn.study.worker import train_run
from tests.test_study.studies import SE, SITES

SEEN = {}


@HOOKS.register_module(force=True)
class SeeTensors(Hook):
    """Notes the host's first weights, and what each step takes in and draws."""

    def before_train(self, runner):
        self.seen = SEEN[runner.work_dir] = dict(weights={}, batches=[], dropped=[])
        for name, value in runner.model.state_dict().items():
            if not name.startswith('attention.'):
                self.seen['weights'][name] = value.clone()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        samples = data_batch['data_samples']
        self.seen['batches'].append(
            [
                *((s.img_id, s.flip, s.gt_instances.bboxes.tensor.tolist()) for s in samples),
                torch.stack(data_batch['inputs']).long().sum((1, 3)).tolist(),
            ]
        )
        self.seen['dropped'].append(runner.model.backbone.layer4[1].bn2[1].dropped)


@MODELS.register_module(force=True)
class DroppingBatchNorm(nn.Sequential):
    """A norm (by its name) with dropout, which notes what the last step dropped."""

    def __init__(self, num_features, eps=1e-5):
        super().__init__(nn.BatchNorm2d(num_features, eps), _Dropout())


class _Dropout(nn.Module):
    dropped = None

    def forward(self, x):
        if not self.training:
            return x
        mask = torch.rand(x.shape[:2] + (1, 1)) < 0.1
        self.dropped = mask.flatten().tolist()
        return x.masked_fill(mask, 0)


@pytest.fixture(scope='module')
def seen(squares, tmp_path_factory, request):
    """What the runs of a study saw, by variant and seed."""
    from tests.test_study.studies import write_base, write_study

    folder = tmp_path_factory.mktemp('discipline')
    write_base(folder / 'base.py', squares, request.config.rootpath, train_cfg__max_epochs=1)
    drop = "dict(backbone=dict(norm_cfg=dict(_delete_=True, type='DroppingBatchNorm')))"
    path = write_study(
        folder / 'study.py',
        settings=f"dict(model={drop}, custom_hooks=[dict(type='SeeTensors')])",
        variants=f"dict(se={SE}, cbam=dict(insert=[dict(at='{SITES}', block=dict(type='mmattn.CBAM'))]))",
        controls="['plain', dict(type='capacity', of='se')]",
    )
    request.getfixturevalue('no_data_root')
    runs = prepare_folders(read_study(path), folder / 'work')
    for run in runs:
        if run.seed == 0 or run.variant == 'plain':
            train_run(run.folder)
    return {(run.variant, run.seed): SEEN.get(str(run.folder)) for run in runs}


@pytest.fixture(scope='module')
def no_data_root():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('MMATTN_DATA_ROOT', raising=False)
        yield


VARIANTS = ('capacity', 'se', 'cbam')


@pytest.mark.parametrize('variant', VARIANTS)
def test_two_variants_of_a_seed_see_the_same_tensors(seen, variant):
    one, other = seen['plain', 0], seen[variant, 0]
    assert len(one['batches']) == 4 and one['batches'] == other['batches']
    assert len(one['weights']) > 100 and one['weights'].keys() == other['weights'].keys()
    assert all(one['weights'][key].equal(other['weights'][key]) for key in one['weights'])
    assert len([each for each in one['dropped'] if each]) == 3  # none before the first step
    assert one['dropped'] == other['dropped']


def test_another_seed_sees_others(seen):
    one, other = seen['plain', 0], seen['plain', 1]
    assert one['batches'] != other['batches'] and one['dropped'] != other['dropped']
    assert any(not one['weights'][key].equal(other['weights'][key]) for key in one['weights'])
    assert json.dumps(one['batches'][0]) != json.dumps(one['batches'][1])
