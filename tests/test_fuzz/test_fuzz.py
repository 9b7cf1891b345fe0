"""Whatever a user hands in, mutated: the valid trains, all else is refused by name, nothing is half done."""

from collections import Counter
from dataclasses import replace

import pytest

hypothesis = pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from tests.test_fuzz import annotations, checkpoints, configs  # noqa: E402
from tests.test_fuzz.arena import Arena, check  # noqa: E402
from tests.test_fuzz.case import DELETED, EITHER, REFUSED, SAME, TRAINS, Case  # noqa: E402
from tests.test_fuzz.configs import BLOCK, NAN, case  # noqa: E402
from tests.test_fuzz.many import nested, run_cases, settings  # noqa: E402


@pytest.fixture(scope='module')
def arena(tmp_path_factory):
    return Arena(tmp_path_factory.mktemp('arena'))


def hook(name, **options):
    return ('custom_hooks', [dict(type=f'mmattn.{name}', **options)])


def resume(path, value):
    """A record of a run with another value, by its place in ``checkpoints.ODD``."""
    return checkpoints.checkpoint_case('a record of a run', EITHER, 'resume', 'record', path, value)


ODD = {repr(value): place for place, value in enumerate(checkpoints.ODD)}

# Each ended in a traceback, in a lone word, in a training that was not asked for or in none at all.
FOUND = {
    # a value that is taken for True
    'exact_resume no': case('', REFUSED, ('exact_resume', 'no')),
    'resume in a list': case('', REFUSED, ('resume', [1])),
    'freeze_detector yes': case('', REFUSED, ('model.freeze_detector', 'yes')),
    'strict False as text': case('', REFUSED, hook('ExactResumeHook', strict='False'), says=('strict',)),
    'by_epoch 3': case('', REFUSED, hook('AdapterHook', by_epoch=3), configs.FROZEN, says=('by_epoch',)),
    'bias no': case('', REFUSED, (BLOCK, dict(type='mmattn.SE', bias='no')), says=('bias',)),
    'an identity with a part that is none': case('', REFUSED,
        (BLOCK, dict(type='mmattn.Compose', start='identity',
        blocks=[dict(type='mmattn.BAM', start='paper')])), says=("part BAM has start='paper'",)),
    # a number that is none, or cannot be meant
    'max_iters 0': case('', REFUSED, ('train_cfg.max_iters', 0)),
    'max_iters x': case('', REFUSED, ('train_cfg.max_iters', 'x')),
    'epsilon of two numbers': case('', REFUSED, (BLOCK, dict(type='mmattn.GCT', epsilon=(2, 3))),
        says=('epsilon',)),
    'epsilon NaN': case('', REFUSED, (BLOCK, dict(type='mmattn.GCT', epsilon=NAN)), says=('epsilon',)),
    'e_lambda as text': case('', REFUSED, (BLOCK, dict(type='mmattn.SimAM', e_lambda='x')),
        says=('e_lambda',)),
    'learning rate x': case('', REFUSED, ('optim_wrapper.optimizer.lr', 'x')),
    'seed 2.5': case('', REFUSED, ('randomness', dict(seed=2.5)), says=('randomness.seed',)),
    'no number of classes': case('', REFUSED, ('model.bbox_head.num_classes', None)),
    'num_workers None': case('', REFUSED, ('train_dataloader.num_workers', None)),
    'score_thr NaN': case('', REFUSED, hook('AttentionMapHook', score_thr=NAN), says=('score_thr',)),
    'a key without a name': Case('configs', 'options', REFUSED, ('--cfg-options', '=3'), ('=3',)),
    'an option of a list by a name': Case('configs', 'options', REFUSED,
        ('--cfg-options', 'model.insert.x.at=3'), ('model.insert.x',)),
    'an option that is no dict': Case('configs', 'options', REFUSED, ('--cfg-options', 'model.insert.0=3'),
        ('model.insert.0',)),
    'an empty --resume': Case('configs', 'options', REFUSED, ('--resume', ''), ('--resume',)),
    'an empty detector': case('', REFUSED, ('model.detector', ''), says=("'detector'",)),
    # no dict where one is meant
    'default_hooks 3': case('', REFUSED, ('default_hooks', 3)),
    'checkpoint hook in a list': case('', REFUSED, ('default_hooks.checkpoint', [3])),
    'env_cfg x': case('', REFUSED, ('env_cfg', 'x')),
    'val_dataloader True': case('', REFUSED, ('val_dataloader', True)),
    'no dataset': case('', REFUSED, ('val_dataloader.dataset', DELETED), says=('val_dataloader',)),
    'a dataset x': case('', REFUSED, ('train_dataloader.dataset', 'x')),
    'data_root 3': case('', REFUSED, ('train_dataloader.dataset.data_root', 3)),
    'ann_file 3': case('', REFUSED, ('val_evaluator.ann_file', 3)),
    'classes that are numbers': case('', REFUSED, ('val_dataloader.dataset.metainfo', dict(classes=[1, 2]))),
    'evaluators that are none': case('', REFUSED, ('val_evaluator', [3])),
    'optimizer 3': case('', REFUSED, ('optim_wrapper.optimizer', 3)),
    'an empty optim_wrapper': case('', REFUSED, ('optim_wrapper', {})),
    # a name that is none
    'an unknown optimizer': case('', REFUSED, ('optim_wrapper.optimizer.type', 'AdmaW'), says=('AdmaW',)),
    'an empty block': case('', REFUSED, (f'{BLOCK}.type', ''), says=('block',)),
    'a block without name': case('', REFUSED, (f'{BLOCK}.type', 'mmattn.'), says=('block',)),
    'an empty model': case('', REFUSED, ('model', {})),
    'an empty type of dataset': case('', REFUSED, ('train_dataloader.dataset.type', ''), says=('dataset',)),
    'an address without loader': case('', REFUSED, ('load_from', 'nowhere://a.pth')),
    'an empty load_from': case('', REFUSED, ('load_from', '')),
    'log_level LOUD': case('', REFUSED, ('log_level', 'LOUD'), says=('log_level',)),
    'color_type colour': case('', REFUSED, (f'{configs.IMAGE_LOADER}.color_type', 'colour'),
        says=('color_type',)),
    'imdecode_backend cv3': case('', REFUSED, (f'{configs.IMAGE_LOADER}.imdecode_backend', 'cv3'),
        says=('backend',)),
    'an unknown option of CheckpointHook': case('', REFUSED,
        ('default_hooks.checkpoint', dict(type='CheckpointHook', intervall=1)), says=('interval',)),
    'a number that no float can be': replace(annotations.annotation('val', '', REFUSED,
        ('value', 'annotations', 'bbox', [1, 2, 3, 10**400], 'one')), use='check_data'),
    'a size that no image has': annotations.annotation('val', '', SAME,
        ('value', 'images', 'height', 10**400, 'one')),
    'a box far away': replace(annotations.annotation('train', '', EITHER,
        ('value', 'annotations', 'bbox', [1, 2, 3, 1e300], 'all')), use='check_data'),
    'annotations with scores': replace(annotations.annotation('val', '', SAME, ('named', ('more fields',))),
        use='check_data'),
    # a checkpoint with weights that are none, or with a record that no run leaves
    'a NaN': checkpoints.checkpoint_case('', REFUSED, 'load_from', 'not finite', 'NaN', 0, says=('NaN',)),
    'an infinite weight': checkpoints.checkpoint_case('', REFUSED, 'test', 'not finite', 'infinite', 7,
        says=('inf',)),
    'a flipped bit': checkpoints.checkpoint_case('', REFUSED, 'load_from', 'flip', False, ((50000, 6),),
        says=('dam',)),
    'exact_resume with other keys': resume('exact_resume', ODD["{'a': 1}"]),
    'runtime_info in a list': resume('message_hub.runtime_info', ODD['[]']),
    'an optimizer with other keys': resume('optimizer', ODD["{'a': 1}"]),
    'no message_hub': resume('message_hub', ODD['DELETED']),
}  # fmt: skip


@pytest.mark.parametrize('name', FOUND)
def test_what_was_found(arena, name):
    seen, wrong = check(arena, FOUND[name])
    assert not wrong


@pytest.mark.parametrize('part, number', [(configs, 16), (annotations, 8), (checkpoints, 8)])
def test_some_cases(arena, part, number):
    @settings(number)
    @hypothesis.given(part.CASE)
    def run(case):
        seen, wrong = check(arena, case)
        assert not wrong

    run()


def test_counts_by_tuples_as_dicts():
    counts = Counter({('a', 'x', 'y'): 2, ('a', 'x', 'z'): 1, ('b', 'x', 'y'): 3})
    assert nested(counts) == dict(a=dict(x=dict(y=2, z=1)), b=dict(x=dict(y=3)))


@pytest.mark.slow
def test_a_thousand_cases(tmp_path, record_property):
    done = run_cases(tmp_path, 1000)
    record_property('fuzzing', done)
    assert not done['failures']
    assert done['cases'] >= 990
    outcomes = {outcome for part in done['counts'].values() for each in part.values() for outcome in each}
    assert outcomes == {REFUSED, TRAINS, SAME, EITHER}
