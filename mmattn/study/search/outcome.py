"""What a search found: its trials as a table, what mattered, the winner as a config and as a study."""

from __future__ import annotations

import csv
import io
import os
import pprint
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from mmengine.config import Config
from optuna.trial import FrozenTrial, TrialState

from mmattn.files import write_file
from mmattn.study.search.settings import SearchSettings
from mmattn.study.search.storage import ended, error_of

TRIALS_FILE, BEST_CONFIG, CONFIRMATION = 'trials.csv', 'best.py', 'confirmation.py'


def best_trial(search: optuna.Study) -> FrozenTrial | None:
    """Return the trial with the highest metric of those that came to their end; None if none did."""
    complete = [trial for trial in ended(search) if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def choices_text(params: Mapping[str, Any]) -> str:
    """Return the choices of a trial as ``name=value, name=value``."""
    return ', '.join(
        f'{name}={value:.4g}' if isinstance(value, float) else f'{name}={value}'
        for name, value in params.items()
    )


def importances(search: optuna.Study) -> dict[str, float]:
    """Return how much each parameter has to do with being among the best trials; empty with too few.

    It is Optuna's PED-ANOVA, of the parameters that every complete trial has.
    """
    complete = [trial for trial in ended(search) if trial.state == TrialState.COMPLETE]
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    shared = set.intersection(*(set(trial.params) for trial in complete))
    varied = [name for name in sorted(shared) if len({trial.params[name] for trial in complete}) > 1]
    return optuna.importance.get_param_importances(search, params=varied) if varied else {}


def write_trials(search: optuna.Study, path: Path) -> None:
    """Write a table of all trials that have ended."""
    trials = ended(search)
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(['trial', 'state', 'metric', 'evaluations', 'seconds', 'folder', *names, 'error'])
    for trial in trials:
        values = trial.intermediate_values
        value = trial.value if trial.state == TrialState.COMPLETE else None
        seconds = trial.duration.total_seconds() if trial.duration else None
        row = [
            trial.number,
            trial.state.name.lower(),
            value,
            len(values),
            seconds,
            trial.user_attrs['folder'],
        ]
        table.writerow([*row, *(trial.params.get(name) for name in names), error_of(trial)])
    write_file(path, text.getvalue())


def write_best_config(path: Path, base: str, changes: Mapping[str, Any], cfg: Config) -> None:
    """Write the winner as an ordinary config: its base and what differs; or whole, where that says it not.

    Args:
        path: File to write.
        base: Config file of the detector.
        changes: What the winner changes, with ``insert`` for the attention.
        cfg: The winner's whole config.
    """
    changes = dict(changes)
    insert = changes.pop('insert', None)
    if insert is not None:
        own = dict(type=cfg.model.type, detector=cfg.model.detector, insert=insert)
        changes['model'] = own | dict(changes.get('model') or {})
    base = base if '::' in base else os.path.relpath(base, path.parent)
    write_file(path, _python(dict(_base_=base) | changes))
    if not _is_same(path, cfg):
        write_file(path, cfg.pretty_text)


def _is_same(path: Path, cfg: Config) -> bool:
    try:
        return Config.fromfile(path).to_dict() == cfg.to_dict()
    except Exception:  # dotted keys, positions in lists: MMEngine merges them from the command line alone
        return False


def write_confirmation(path: Path, settings: SearchSettings, base: str, variant: Mapping[str, Any]) -> None:
    """Write a study that compares the winner with its controls, with seeds that the search has not seen."""
    study = dict(
        base=base if '::' in base else os.path.abspath(base),
        settings=dict(settings.settings),
        budget=settings.budget,
        variants=dict(winner=variant),
        controls=list(settings.confirm_controls),
        seeds=list(settings.confirm_seeds),
    )
    write_file(path, _python({key: value for key, value in study.items() if value}))


def _python(settings: Mapping[str, Any]) -> str:
    """Return settings as the text of a config file."""
    return ''.join(
        f'{key} = {pprint.pformat(_plain(value), width=100, sort_dicts=False)}\n'
        for key, value in settings.items()
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(each) for each in value)
    return value
