"""Search: let Optuna choose, train, stop what falls behind, tell the progress, write what was found."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import optuna
from mmengine.config import Config
from optuna.trial import FrozenTrial, Trial, TrialState

from mmattn.engine import check_data
from mmattn.engine.check_weights import check_weights
from mmattn.engine.mistakes import BUILD_ERRORS, user_input
from mmattn.study.asked import read_asked
from mmattn.study.lock import Lock, Locked
from mmattn.study.plan import Run
from mmattn.study.search.fingerprint import fingerprint_of, require_same
from mmattn.study.search.outcome import (
    BEST_CONFIG,
    CONFIRMATION,
    TRIALS_FILE,
    best_trial,
    choices_text,
    importances,
    write_best_config,
    write_confirmation,
    write_trials,
)
from mmattn.study.search.settings import SearchSettings, read_search
from mmattn.study.search.space import choose, cover
from mmattn.study.search.storage import (
    TRIAL_LOCK,
    ended,
    error_of,
    open_search,
    open_storage,
    queue_interrupted,
    quiet_optuna,
    set_error,
    sign,
)
from mmattn.study.search.trial import TrialFailed, Watch, prepare_trial, train_trial, trial_folder
from mmattn.study.variant_config import base_path, build_detector, variant_config

TRIALS = 'trials'
Train = Callable[[Mapping[str, Any], Path, Watch], float]


def optimize(search: optuna.Study, settings: SearchSettings, folder: Path, train: Train, tell=print) -> None:
    """Run trials until the search has as many as its settings say, whoever else works on it.

    Args:
        search: Optuna's study.
        settings: What is searched.
        folder: Folder of the trials.
        train: Trains a variant in a folder and returns its metric; it calls its third argument with the
            number and metric of each evaluation, and stops if that returns True.
        tell: Prints a line.
    """
    began, before = time.monotonic(), len(ended(search))
    until_told = ExitStack()  # the lock of the trial, until Optuna knows how it ended

    def objective(trial: Trial) -> float:
        variant = choose(trial, settings.variant)
        place = trial_folder(folder, variant)
        place.mkdir(parents=True, exist_ok=True)
        pruned = False

        def behind(evaluation: int, value: float) -> bool:
            nonlocal pruned
            trial.report(value, evaluation)
            pruned = trial.should_prune()
            return pruned

        until_told.enter_context(_locked(place))
        sign(trial, place)  # now that it has the lock, without which it counts as interrupted
        try:
            value = train(variant, place, behind)
        except Exception as error:
            set_error(trial, str(error))
            raise TrialFailed(str(error)) from error
        if pruned:
            raise optuna.TrialPruned
        return value

    def after(search: optuna.Study, trial: FrozenTrial) -> None:
        until_told.close()
        done = len(ended(search))
        if done >= settings.trials:
            search.stop()
        tell(progress(search, trial, settings, (time.monotonic() - began) / max(done - before, 1)))

    if before < settings.trials:
        with until_told:
            search.optimize(objective, callbacks=[after], catch=(TrialFailed,))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Have a trial's folder for oneself; another trial that chose alike is waited for, and then read."""
    while True:
        try:
            with Lock(folder / TRIAL_LOCK, f'the trial in {folder}'):
                yield
            return
        except Locked:
            time.sleep(1)


def progress(search: optuna.Study, trial: FrozenTrial, settings: SearchSettings, seconds: float) -> str:
    """Return a line about a trial that has ended.

    Args:
        seconds: Time that each trial took, whoever trained it.
    """
    done = len(ended(search))
    text = f'trial {trial.number} ({done} of {settings.trials}): '
    if trial.state == TrialState.COMPLETE:
        text += f'{settings.metric} {trial.value:.4f}'
    elif trial.state == TrialState.PRUNED:
        text += f'stopped after evaluation {max(trial.intermediate_values)}'
    else:
        text += f'FAILED: {error_of(trial)}'
    text += f'; {choices_text(trial.params)}'
    best = best_trial(search)
    if best:
        text += f'; best {best.value:.4f}, trial {best.number}'
    left = max(settings.trials - done, 0) * seconds
    return text + (f'; about {time.strftime("%H:%M:%S", time.gmtime(left))} left' if 0 < left < 86400 else '')


def run_search(
    path: str,
    work_dir: str,
    storage: str | None = None,
    data_root: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    beside: AbstractContextManager | None = None,
    joined: bool = False,
    tell: Callable[[str], Any] = print,
) -> Path | None:
    """Search for the best attention, and write the winner as a config and as a study that confirms it.

    Args:
        path: Config file of the search; docs/study.md says what it holds.
        work_dir: Folder of all that is written.
        storage: See :func:`~mmattn.study.search.storage.open_storage`.
        data_root: Folder of the data set, as for ``tools/train.py``.
        cfg_options: Changes to the config of the search.
        beside: Entered when all has been checked, and left before the outcome is written: other processes.
        joined: Whether this is such a process: it checks nothing again, and leaves the outcome to the first.
        tell: Prints a line.

    Returns:
        The config of the study that confirms the winner; None if no trial came to its end, or if joined.
    """
    with user_input():
        settings = read_search(path, read_asked(path, cfg_options))
    folder = Path(work_dir)
    parent = os.path.dirname(os.path.abspath(path))
    base = base_path(settings.base, parent)
    common = dict(base=base, settings=settings.settings, budget=settings.budget)

    def config_of(variant: Mapping[str, Any]) -> Config:
        return variant_config(common, variant, parent, data_root)

    if not joined:
        _check_variants(settings, config_of)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_optuna():
        with user_input():
            opened = open_storage(storage, folder)
        search = open_search(settings.name, opened, settings.sampler, settings.pruner, settings.sampler_seed)
        with user_input():
            require_same(search, folder, fingerprint_of(settings, parent, config_of, data_root))
        queued = 0 if joined else queue_interrupted(search, folder / TRIALS)
        if queued:
            tell(f'{queued} trials were interrupted and go on')

        def train(variant: Mapping[str, Any], place: Path, watch: Watch) -> float:
            run = Run(place.name, settings.seed, place)
            prepare_trial(run, config_of(variant), settings.name)
            return train_trial(run, settings.metric, watch)

        with beside or nullcontext():
            optimize(search, settings, folder / TRIALS, train, tell)
        if joined:
            return None
        return _write_outcome(search, settings, folder, base, config_of, tell)


def _check_variants(settings: SearchSettings, config_of: Callable[[Mapping[str, Any]], Config]) -> None:
    """Build detectors with each choice and each end of a range, and check data and pretrained weights."""
    for variant in cover(settings.variant):
        with user_input(f'search.variant: {variant} cannot be built', BUILD_ERRORS):
            cfg = config_of(variant)
            build_detector(cfg)
    with user_input(errors=BUILD_ERRORS):
        check_weights(cfg)
        check_data(cfg)


def _write_outcome(
    search: optuna.Study,
    settings: SearchSettings,
    folder: Path,
    base: str,
    config_of: Callable[[Mapping[str, Any]], Config],
    tell: Callable[[str], Any],
) -> Path | None:
    write_trials(search, folder / TRIALS_FILE)
    best = best_trial(search)
    if best is None:
        tell('no trial came to its end: there is no winner')
        return None
    for name, share in importances(search).items():
        tell(f'importance of {name}: {share:.2f}')
    variant = choose(optuna.trial.FixedTrial(best.params), settings.variant)
    changes = dict(settings.settings) | variant
    write_best_config(folder / BEST_CONFIG, base, changes, config_of(variant))
    write_confirmation(folder / CONFIRMATION, settings, base, variant)
    tell(
        f'best: {settings.metric} {best.value:.4f}, trial {best.number}: {choices_text(best.params)}\n'
        f'Its config is {folder / BEST_CONFIG}. The best of {settings.trials} is partly lucky: whether it is '
        f'better than its controls, with other seeds, tells tools/study.py run {folder / CONFIRMATION}'
    )
    return folder / CONFIRMATION
