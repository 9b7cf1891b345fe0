"""A wrong option of a hook says what is possible, when the hook is built."""

import pytest

from mmattn.hooks import AdapterHook, AttentionMapHook, AttentionStatsHook, CheckpointHook, ExactResumeHook
from mmattn.hooks._checks import is_between

NAN = float('nan')
WRONG = [
    (AdapterHook, dict(interval=0), 'AdapterHook: interval=0; it must be a positive integer, or -1'),
    (AdapterHook, dict(by_epoch='no'), "AdapterHook: by_epoch='no'; it must be True or False"),
    (AdapterHook, dict(save_last=1), 'AdapterHook: save_last=1; it must be True or False'),
    (AdapterHook, dict(out_dir=3), 'AdapterHook: out_dir=3; it must be a folder, or None'),
    (AttentionMapHook, {'pictures': [True]}, r'AttentionMapHook: pictures=\[True\]; give the number'),
    (AttentionMapHook, dict(sites='neck'), "AttentionMapHook: sites='neck'; it must be a list of globs"),
    (AttentionMapHook, dict(score_thr=NAN), 'AttentionMapHook: score_thr=nan; it must be a number from 0 to'),
    (AttentionMapHook, dict(dpi=0), 'AttentionMapHook: dpi=0; it must be a number from 1 on'),
    (AttentionMapHook, dict(backend_args=3), 'AttentionMapHook: backend_args=3; it must be a dict, or None'),
    (AttentionStatsHook, dict(patience='2'), "AttentionStatsHook: patience='2'; it must be a positive integ"),
    (AttentionStatsHook, dict(warn_share=True), r'warn_share=True; it must be in \(0, 1\]'),
    (ExactResumeHook, dict(strict='False'), "ExactResumeHook: strict='False'; it must be True or False"),
]


@pytest.mark.parametrize('hook, options, says', WRONG)
def test_a_wrong_option_is_refused(hook, options, says):
    with pytest.raises(ValueError, match=says):
        hook(**options)


@pytest.mark.parametrize(
    'name, says', [('intervall', "did you mean 'interval'"), ('x', 'Its options: .*interval')]
)
def test_an_unknown_option_of_the_checkpoint_hook_is_refused(name, says):
    """MMEngine would fail at the first checkpoint, after all that training."""
    with pytest.raises(TypeError, match=f"CheckpointHook has no option '{name}'.*{says}"):
        CheckpointHook(**{name: 1})


def test_what_the_runner_takes_is_an_option_too():
    CheckpointHook(interval=2, max_keep_ckpts=1, save_best='auto', published_keys=['state_dict'])


def test_a_number_in_a_range():
    assert is_between(0, 0, 1) and is_between(0.5, 0, 1)
    assert not any(is_between(value, 0, 1) for value in (-1, 2, NAN, True, None, '0'))
