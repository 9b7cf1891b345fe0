"""Where a search keeps its trials: Optuna's journal file, SQLite, or any database that Optuna takes."""

from __future__ import annotations

import itertools
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, BruteForceSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from mmattn.study.lock import is_locked

SAMPLERS = ('tpe', 'random', 'grid')
PRUNERS = ('median', 'hyperband', 'none')
JOURNAL, TRIAL_LOCK = 'search.journal', 'trial.lock'
ATTEMPTS, PAUSE = 4, 1.0
"""How often, and after how many seconds, a database is opened that another process may be making."""
_HOST, _FOLDER, _ERROR = 'host', 'folder', 'error'


def open_storage(storage: str | None, work_dir: Path) -> BaseStorage:
    """Open the storage of a search.

    Args:
        storage: URL of a database, as ``sqlite:///search.db`` or ``postgresql+psycopg://user@host/name``; the
            path of a journal file; None for ``WORK_DIR/search.journal``.
        work_dir: Folder of the search.

    Raises:
        ModuleNotFoundError: If the package is missing that connects to such a database.
        ValueError: If there is no such database, or it cannot be used.
    """
    if storage and '://' in storage:
        return _open_database(storage)
    path = Path(storage) if storage else work_dir / JOURNAL
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))


def _open_database(url: str) -> RDBStorage:
    for attempt in itertools.count(1):
        try:
            return RDBStorage(url)
        except ImportError as error:
            raise ModuleNotFoundError(
                f'--storage: the package that connects to {url.partition(":")[0]} is not installed. For '
                'postgresql+psycopg://user@host/name it is pip install psycopg[binary], for '
                'mysql+pymysql://user@host/name pip install pymysql'
            ) from error
        except SQLAlchemyError as error:
            # two processes that begin at the same moment make the same tables, and one of them fails
            if not isinstance(error, DBAPIError) or attempt == ATTEMPTS:
                reason = str(getattr(error, 'orig', None) or error).strip()
                raise ValueError(f'--storage: the database cannot be opened: {reason}') from error
            time.sleep(PAUSE)


def open_search(name: str, storage: BaseStorage, sampler: str, pruner: str, seed: int) -> optuna.Study:
    """Create a search, or join the one of that name.

    Args:
        name: Name of the search in its storage.
        storage: What :func:`open_storage` returned.
        sampler: One of :data:`SAMPLERS`.
        pruner: One of :data:`PRUNERS`.
        seed: Seed of the choices of whoever creates the search. Those that join it, or go on with it, choose
            at random: with the same seed they would choose the same again.
    """
    try:
        return optuna.create_study(
            study_name=name,
            storage=storage,
            sampler=_sampler(sampler, seed),
            pruner=_pruner(pruner),
            direction='maximize',
        )
    except optuna.exceptions.DuplicatedStudyError:
        return optuna.load_study(
            study_name=name, storage=storage, sampler=_sampler(sampler, None), pruner=_pruner(pruner)
        )


def _sampler(name: str, seed: int | None) -> BaseSampler:
    if name == 'grid':
        with warnings.catch_warnings():  # Optuna's one sampler for grids in which choices depend on others
            warnings.simplefilter('ignore', ExperimentalWarning)
            return BruteForceSampler(seed=seed)
    return TPESampler(seed=seed) if name == 'tpe' else RandomSampler(seed=seed)


def _pruner(name: str) -> optuna.pruners.BasePruner:
    if name == 'median':
        return optuna.pruners.MedianPruner(n_startup_trials=4)
    return optuna.pruners.HyperbandPruner() if name == 'hyperband' else optuna.pruners.NopPruner()


def sign(trial: Trial, folder: Path) -> None:
    """Write into a trial where it runs, for :func:`queue_interrupted`."""
    trial.set_user_attr(_HOST, socket.gethostname())
    trial.set_user_attr(_FOLDER, folder.name)  # the last: who has it has both


def set_error(trial: Trial, error: str) -> None:
    """Write into a trial why it failed."""
    trial.set_user_attr(_ERROR, error)


def error_of(trial: FrozenTrial) -> str | None:
    """Return why a trial failed; None if it did not, or was interrupted."""
    return trial.user_attrs.get(_ERROR)


def queue_interrupted(search: optuna.Study, folder: Path) -> int:
    """Queue the trials again whose process was killed; return their number.

    With the same choices they get the same folder, and go on from its checkpoint. A trial on another machine
    is left alone, unless its folder is here and nobody has its lock.

    Args:
        search: The search.
        folder: Folder of the trials' folders.
    """
    found = 0
    for trial in search.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _FOLDER not in trial.user_attrs:
            continue  # it has just begun
        lock = folder / trial.user_attrs[_FOLDER] / TRIAL_LOCK
        if not lock.exists() and trial.user_attrs[_HOST] != socket.gethostname():
            continue
        if is_locked(lock) or search.get_trials(deepcopy=False)[trial.number].state != TrialState.RUNNING:
            continue  # it ended after it was listed; it has the lock until the storage says so
        try:
            search.tell(trial.number, state=TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            continue  # another process found it, too
        search.enqueue_trial(trial.params)
        found += 1
    return found


def ended(search: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have ended, other than by an interruption."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    trials = search.get_trials(deepcopy=False, states=states)
    return [trial for trial in trials if trial.state != TrialState.FAIL or error_of(trial)]


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Let Optuna log errors only: what happens is told in terms of the config."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
