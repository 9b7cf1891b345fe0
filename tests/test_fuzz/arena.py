"""Run a tool on a mutated input, in this process, and compare what happens with what must happen."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import hashlib
import importlib
import io
import json
import logging
import math
import os
import re
import runpy
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.utils import ManagerMixin

from tests.squares import write_detectors, write_squares
from tests.test_fuzz.case import EITHER, REFUSED, SAME, Case

ROOT = Path(__file__).parents[2]
SECONDS = 60
"""A case that takes longer hangs."""
ITERATIONS = 1
_NO_HELP = re.compile(r"^\S+\.py: (\w+Error:? ?)?['\"]?[\w.]*['\"]?$")
"""A message that is a lone word, as that of a bare KeyError."""


class Hangs(BaseException):
    """Raised after SECONDS; no ``except Exception`` catches it."""


@dataclass
class Done:
    """How a run of a tool ended; ``error`` is the traceback of what it let through."""

    code: int
    out: str
    err: str
    error: str = ''

    @property
    def message(self) -> str:
        """The last message of the tool's."""
        found = re.findall(r'^\w+\.py: (?:.*\n?)*', self.err, re.MULTILINE)
        return found[-1].strip() if found else ''


class Arena:
    """A folder with a data set, configs and checkpoints, of which cases mutate copies."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.data = write_squares(folder / 'data', train=4, val=2)
        write_detectors(folder, self.data, ROOT / 'configs')
        self.config = short(Config.fromfile(str(folder / 'detector.py')).to_dict())
        self.number = 0
        self.inputs = {}
        self.baselines: dict[str, object] = {}

    def write_config(self, path: Path, config: dict | None = None) -> Path:
        """Write a config as a Python file."""
        config = self.config if config is None else config
        path.write_text(''.join(f'{key} = {code(value)}\n' for key, value in config.items()), 'utf-8')
        return path

    def case_folder(self) -> Path:
        """Make a new folder for a case."""
        self.number += 1
        folder = self.folder / 'cases' / str(self.number)
        folder.mkdir(parents=True)
        return folder

    def run(self, tool: str, *arguments: object, cwd: Path | None = None) -> Done:
        """Run a tool as a program, in this process."""
        return run_tool(tool, arguments, cwd or self.folder)


def short(config: dict) -> dict:
    """The config of a detector for one iteration and an evaluation, without what no loader reads."""
    for key in ('train_pipeline', 'test_pipeline', 'classes', 'metainfo', 'scale', 'dataset_type'):
        config.pop(key, None)
    config['train_cfg'] = dict(type='IterBasedTrainLoop', max_iters=ITERATIONS, val_interval=ITERATIONS)
    config['default_hooks']['checkpoint'] = dict(type='CheckpointHook', by_epoch=False, interval=1)
    config['log_processor'] = dict(type='LogProcessor', by_epoch=False)
    for part in ('train', 'val', 'test'):
        config[f'{part}_dataloader']['dataset']['serialize_data'] = (
            False  # collects garbage, which takes long
        )
    return config


def code(value: object) -> str:
    """A value as Python code, also if it is NaN or infinite."""
    if isinstance(value, dict):
        return '{' + ', '.join(f'{key!r}: {code(each)}' for key, each in value.items()) + '}'
    if isinstance(value, (list, tuple)):
        inner = ', '.join(map(code, value))
        return f'[{inner}]' if isinstance(value, list) else f'({inner}{"," * bool(value)})'
    if isinstance(value, float) and not math.isfinite(value):
        return f'float({str(value)!r})'
    return repr(value)


@contextlib.contextmanager
def _process_state(cwd: Path):
    """Put back what a run leaves in a process: scopes, loggers, environment, folder, generators' settings."""
    before = {each: dict(each._instance_dict) for each in _managers(ManagerMixin)}
    folder, argv, deterministic = os.getcwd(), sys.argv, torch.are_deterministic_algorithms_enabled()
    level, handlers = logging.root.level, list(logging.root.handlers)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ))
        for name in ('MMATTN_DATA_ROOT', 'MMATTN_DEBUG', 'SLURM_PROCID'):
            os.environ.pop(name, None)
        os.environ['LOCAL_RANK'] = '0'
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter('ignore')  # a user sees them, and the run goes on
        # Takes half of the time, and no part in the outcome.
        stack.enter_context(mock.patch('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)))
        os.chdir(cwd)
        try:
            yield
        finally:
            os.chdir(folder)
            sys.argv = argv
            torch.use_deterministic_algorithms(deterministic)
            logging.root.setLevel(level)
            logging.root.handlers[:] = handlers
            for each in _managers(ManagerMixin):
                left = before.get(each, {})
                for name in set(each._instance_dict) - set(left) if each is MMLogger else ():
                    for handler in each._instance_dict[name].handlers:
                        handler.close()
                each._instance_dict.clear()
                each._instance_dict.update(left)


def _managers(owner: type) -> Iterator[type]:
    """MMEngine's classes of which each instance has a name, such as loggers, visualizers and scopes."""
    for each in owner.__subclasses__():
        yield each
        yield from _managers(each)


def run_tool(tool: str, arguments: tuple, cwd: Path) -> Done:
    """Run a tool of ``tools/``; end it after SECONDS."""

    def ring(*_):
        raise Hangs(f'more than {SECONDS} seconds')

    out, err = io.StringIO(), io.StringIO()
    code, error = 0, ''
    before = signal.signal(signal.SIGALRM, ring)
    with _process_state(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        path = str(ROOT / 'tools' / tool)
        sys.argv = [path, *map(str, arguments)]
        signal.alarm(SECONDS)
        faulthandler.dump_traceback_later(2 * SECONDS, exit=True, file=sys.__stderr__)  # in code of others
        try:
            runpy.run_path(path, run_name='__main__')
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException as raised:
            if isinstance(raised, KeyboardInterrupt):
                raise
            code, error = 1, ''.join(traceback.format_exception(raised))
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
            faulthandler.cancel_dump_traceback_later()
    return Done(code, out.getvalue(), err.getvalue(), error)


def check(arena: Arena, case: Case) -> tuple[str, str]:
    """Run a case; return what was seen, and what is wrong with that: an empty text if nothing is."""
    part = importlib.import_module(f'tests.test_fuzz.{case.part}')
    folder = arena.case_folder()
    tool, arguments = part.apply(arena, case, folder)
    inputs = _digests(folder)
    done = arena.run(tool, *arguments, cwd=folder)
    seen = 'hangs' if 'Hangs: ' in done.error else {0: TRAINED, 2: REFUSED}.get(done.code, 'fails')
    wrong = (
        _wrong_end(done, case, seen)
        or _wrong_result(arena, part, case, folder, done, seen, inputs)
        or _wrong_files(folder, inputs)
        or ('a file of the user was changed' if _digests(folder, inputs) != inputs else '')
    )
    shutil.rmtree(folder)
    if arena.number % 20 == 0:
        gc.collect()
    return seen, wrong


TRAINED = 'trained'


def _wrong_end(done: Done, case: Case, seen: str) -> str:
    if done.error or done.code not in (0, 2):
        return f'exit code {done.code}: {done.error or done.err[-2000:]}'
    if case.outcome != EITHER and (seen == REFUSED) != (case.outcome == REFUSED):
        return f'{seen}, but it is {case.outcome}: {done.message or done.err[-300:]}'
    if seen != REFUSED:
        return ''
    message = done.message
    if 'Traceback' in done.err + done.out:
        return f'a traceback is printed: {done.err[-2000:]}'
    if not message or _NO_HELP.match(message) or len(message) < 30:
        return f'the message does not help: {message!r}, of {done.err[-500:]!r}'
    if case.outcome == REFUSED and case.says and not any(w.lower() in message.lower() for w in case.says):
        return f'the message names none of {case.says}: {message}'
    return ''


def _wrong_result(arena: Arena, part, case: Case, folder: Path, done: Done, seen: str, inputs) -> str:
    checkpoints = {p.relative_to(folder).as_posix() for p in folder.rglob('work/iter_*.pth')} - set(inputs)
    if seen == REFUSED:
        return f'refused, but trained to {checkpoints}' if checkpoints else ''
    result = part.result(folder, case, done)
    if isinstance(result, str):
        return result
    if case.outcome == SAME:
        baseline = part.baseline(arena, case)
        if baseline != result:
            return f'{result}, and {baseline} without the mutation'
    return ''


def trained(work_dir: Path) -> dict | str:
    """The losses of a run; or, as a text, why that was no training."""
    scalars = list(work_dir.glob('*/vis_data/scalars.json'))
    if not scalars:
        return 'exit code 0, but nothing was logged'
    lines = [json.loads(line) for path in scalars for line in path.read_text().splitlines()]
    losses = [{key: line[key] for key in line if 'loss' in key} for line in lines if 'loss' in line]
    if not losses:
        return 'exit code 0, but no loss was logged'
    if not all(math.isfinite(value) for line in losses for value in line.values()):
        return f'it trains on what gives no finite loss: {losses}'
    if not all(line.get('loss_bbox', 1) > 0 for line in losses):
        return f'it trains on no box: {losses}'
    if not list(work_dir.glob('iter_*.pth')):
        return 'exit code 0, but there is no checkpoint'
    metrics = [{key: line[key] for key in line if 'mAP' in key} for line in lines if 'coco/bbox_mAP' in line]
    return dict(losses=losses, metrics=metrics)


def metrics_of_test(work_dir: Path) -> dict | str:
    """The metrics of a test; or, as a text, that there are none."""
    found = [json.loads(path.read_text()) for path in work_dir.glob('2*/2*.json')]  # named by the time
    if not found:
        return 'exit code 0, but there are no metrics'
    return {key: value for key, value in found[0].items() if 'mAP' in key}


def _wrong_files(folder: Path, inputs) -> str:
    """Name a file below ``folder`` that is not whole; the inputs may be anything."""
    for path in sorted(folder.rglob('*')):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name in inputs:
            continue
        if re.search(r'\.part$|\.tmp|~$', path.name):
            return f'{name} is half of a file'
        try:
            if path.suffix == '.pth':
                torch.load(path, weights_only=False)
            elif path.suffix == '.json':
                lines = (
                    path.read_text().splitlines() if path.parent.name == 'vis_data' else [path.read_text()]
                )
                for line in lines:
                    json.loads(line)
            elif path.suffix == '.safetensors':
                from safetensors import safe_open

                with safe_open(path, 'pt') as file:
                    file.keys()
            elif path.name == 'last_checkpoint' and not os.path.isfile(path.read_text()):
                return f'{name} names no file: {path.read_text()!r}'
        except Exception as error:
            return f'{name} is not whole: {error!r}'
    return ''


def _digests(folder: Path, only=None) -> dict[str, str]:
    """Digests of the files below ``folder``."""
    paths = folder.rglob('*') if only is None else [folder / name for name in only]
    paths = [path for path in paths if path.name != 'last_checkpoint']  # which a resumed run replaces
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file()
    }
