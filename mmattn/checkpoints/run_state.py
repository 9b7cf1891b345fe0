"""Check that a checkpoint records a run that can go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmattn.checkpoints.state import RESUME_RECORD
from mmattn.wanted import (
    BOOL,
    COUNT,
    DICT,
    NOTHING,
    SEED,
    TEXT,
    Wanted,
    is_whole,
    shown,
    unfit_values,
    values_at,
)

_ELSE = 'Resume from another checkpoint, or start a new run from its weights with load_from without resume'
_LIST = Wanted('a list', lambda value: isinstance(value, (list, tuple)))
_DICTS = Wanted('a list of dicts', lambda v: _LIST.fits(v) and all(map(DICT.fits, v)))
_SEEDS = Wanted('a list of whole numbers', lambda v: _LIST.fits(v) and all(map(is_whole, v)))
_UNSAVED = Wanted(
    'a list with what each process had',
    lambda v: (
        _LIST.fits(v)
        and all({'attributes', 'buffers'} <= set(each) for each in v if DICT.fits(each))
        and _DICTS.fits(v)
    ),
)


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, Mapping) and {'state', 'param_groups'} <= value.keys()


_OPTIMIZER = Wanted(
    'the state of an optimizer, or of several by name',
    lambda v: _is_optimizer(v) or DICT.fits(v) and bool(v) and all(map(_is_optimizer, v.values())),
)
_NEEDED = (
    'meta.epoch',
    'meta.iter',
    'message_hub',
    *(f'message_hub.{key}' for key in ('log_scalars', 'runtime_info', 'resumed_keys')),
)
_NEEDED_BY_US = ('seed', 'world_size', 'complete', 'evaluated', 'unsaved')
_KEYS = {
    'meta': DICT,
    'meta.epoch': COUNT,
    'meta.iter': COUNT,
    'meta.seed': SEED | NOTHING,
    'message_hub': DICT,
    'message_hub.*': DICT,
    'optimizer': _OPTIMIZER,
    'optimizer.state': DICT,
    'optimizer.state.*': DICT,
    'optimizer.param_groups': _DICTS,
    'optimizer.param_groups.*.params': _LIST,
    'param_schedulers': _DICTS | DICT,
    RESUME_RECORD: DICT,
    f'{RESUME_RECORD}.seed': COUNT,
    f'{RESUME_RECORD}.skip': COUNT,
    f'{RESUME_RECORD}.sampler_seeds': _SEEDS,
    f'{RESUME_RECORD}.evaluated': BOOL,
    f'{RESUME_RECORD}.complete': BOOL,
    f'{RESUME_RECORD}.optimizer': TEXT,
    f'{RESUME_RECORD}.unsaved': _UNSAVED | NOTHING,
}


def require_run(checkpoint: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless a checkpoint has what MMEngine and we read of a run to resume.

    What fits the model and the optimizer is compared when these are built.
    """
    for key in _NEEDED:
        if not any(values_at(checkpoint, key)):
            raise ValueError(
                f'it holds weights, but not the epoch and iteration of a run to resume ({key} is missing). '
                'To start a run from these weights, use --cfg-options load_from=... instead of --resume'
            )
    record = checkpoint.get(RESUME_RECORD)
    for key in _NEEDED_BY_US if isinstance(record, Mapping) else ():
        if key not in record:
            raise ValueError(f'its record of the run is damaged: {RESUME_RECORD}.{key} is missing. {_ELSE}')
    for key, value, wanted in unfit_values(checkpoint, _KEYS):
        raise ValueError(
            f'its record of the run is damaged: {key} is {shown(value)}, and {wanted.text} is needed. {_ELSE}'
        )
