"""Load checkpoints that hold data, and refuse those that would run code.

A checkpoint is a pickle, which may name any function to be called while it is loaded. MMEngine asks PyTorch
to refuse that (``weights_only=True``), and where PyTorch does, loads the file without that restriction.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import warnings
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any, BinaryIO
from unittest import mock

import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader
from torch import serialization

from mmattn._private_apis import checkpoint_schemes
from mmattn.checkpoints.numpy_data import PickledArray, PickledDtype, scalar, with_arrays
from mmattn.checkpoints.pickled_names import NotACheckpoint, pickled_names

_TORCH = re.compile(
    r'torch\.(\w+Storage|storage\.\w+Storage|Size|Tensor|device|nn\.parameter\.(Parameter|Buffer)'
    r'|_utils\._rebuild_\w+|_tensor\._rebuild_from_type_v2|serialization\._get_layout'
    r'|bool|half|float|double|short|int|long|u?int\d+|b?float\d+\w*|complex\w+|q\w+|per_(tensor|channel)_\w+)'
    r'|collections\.Counter'
)
"""What PyTorch names in tensors; ``weights_only=True`` has the last word on these."""
TRUST_OPTION = '--trust-checkpoint'


class UntrustedCheckpoint(ValueError):
    """A checkpoint that would run code when it is loaded."""


def _method_of_history(owner: type, name: str) -> Callable:
    """Stands for ``getattr``, by which pickle names the statistics of MMEngine's HistoryBuffer."""
    if owner is not HistoryBuffer or name.startswith('_') or name not in vars(HistoryBuffer):
        raise UnpicklingError(f'it asks for the attribute {name!r} of {owner!r}')
    return vars(HistoryBuffer)[name]


def _encode(text: str, encoding: str) -> bytes:
    """Stands for ``_codecs.encode``, by which pickle writes bytes."""
    if encoding not in ('latin1', 'bytes'):
        raise UnpicklingError(f'it asks for the codec {encoding!r}')
    return text.encode('latin1')


def _named(function: Callable, name: str) -> Callable:
    """``function``, so that ``weights_only=True`` finds it by ``name``."""

    def call(*args):
        return function(*args)

    call.__module__, _, call.__name__ = name.rpartition('.')
    call.__qualname__ = call.__name__
    return call


@functools.lru_cache(None)
def _allowed() -> dict[str, Any]:
    """What MMEngine's checkpoints name beside tensors, and harmless types, by their names in files."""
    types = (
        bytes,
        bytearray,
        complex,
        set,
        frozenset,
        slice,
        OrderedDict,
        Namespace,
        ConfigDict,
        HistoryBuffer,
    )
    found: dict[str, Any] = {f'{each.__module__}.{each.__qualname__}': each for each in types}
    functions = {
        'builtins.getattr': _method_of_history,
        '_codecs.encode': _encode,
        'numpy.ndarray': PickledArray,
        'numpy.dtype': PickledDtype,
    }
    for core in ('numpy.core', 'numpy._core'):  # before NumPy 2, and since
        functions[f'{core}.multiarray._reconstruct'] = PickledArray
        functions[f'{core}.multiarray.scalar'] = scalar
    return {**found, **{name: _named(function, name) for name, function in functions.items()}}


@contextmanager
def _allow() -> Iterator[None]:
    """Make ``weights_only=True`` accept :func:`_allowed` and no more, as NumPy's own functions."""
    before = list(serialization.get_safe_globals())
    serialization.clear_safe_globals()
    serialization.add_safe_globals([*_allowed().values(), PickledArray, PickledDtype])
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)


def require_no_code(path: str | os.PathLike) -> None:
    """Raise unless the checkpoint at ``path`` holds tensors, numbers, texts and MMEngine's records only.

    The file is looked at, not loaded.

    Raises:
        UntrustedCheckpoint: It would run code; the message names what.
        ValueError: It is no checkpoint.
    """
    with open(path, 'rb') as file:
        _require_no_code(file, os.fspath(path))


def _require_no_code(file: BinaryIO, name: str) -> None:
    try:
        found = pickled_names(file)
    except NotACheckpoint as error:
        raise ValueError(f"'{name}' cannot be read as a checkpoint: {error}") from error
    unknown = sorted(each for each in found if each not in _allowed() and not _TORCH.fullmatch(each))
    if unknown:
        shown = ', '.join(unknown[:5]) + f', and {len(unknown) - 5} more' * (len(unknown) > 5)
        raise _refusal(name, f'it names {shown}, which loading it would import or call')


def _refusal(name: str, why: str) -> UntrustedCheckpoint:
    return UntrustedCheckpoint(
        f"the checkpoint '{name}' is not loaded, because it is more than plain data: {why}. Weights and "
        "MMEngine's records need none of this. If you know who made the file and trust them to run code on "
        f'this machine, use {TRUST_OPTION} (in Python, trust_checkpoint=True)'
    )


def _reason(error: UnpicklingError) -> str:
    """The one line in PyTorch's message that says what it refused."""
    text = f'{error}'.partition('WeightsUnpickler error:')[2] or f'{error}'
    text = text.strip().partition('\n')[0].partition('. Please use')[0].rstrip('.')
    if text.startswith('Unsupported operand'):
        return 'its pickle is of another protocol than 2, the one that torch.save writes by default'
    return text


def load_data(file: BinaryIO, name: str, map_location: Any = None) -> Any:
    """Load a checkpoint that holds data only; nothing that the file names is called.

    Args:
        file: The checkpoint, open for reading: what was looked at is what is loaded.
        name: Its name in messages.
        map_location: As in ``torch.load``.

    Raises:
        UntrustedCheckpoint: It would run code; the message names what.
        ValueError: It is no checkpoint, or is damaged.
    """
    _require_no_code(file, name)
    file.seek(0)
    try:
        with _allow(), warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Detected pickle protocol')  # _reason says so where it matters
            loaded = serialization.load(file, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        raise _refusal(name, _reason(error)) from error
    except (EOFError, LookupError, TypeError, AttributeError) as error:  # of a damaged pickle
        text = f'{type(error).__name__}: {error}'
        raise ValueError(f"'{name}' cannot be read as a checkpoint: it is damaged ({text})") from error
    loaded = with_arrays(loaded)
    meta = loaded.get('meta') if isinstance(loaded, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)  # a program, as text, which MMEngine runs when it resumes
    return loaded


@contextmanager
def refuse_code(trust: bool = False) -> Iterator[None]:
    """Refuse checkpoints that would run code, whoever loads them by MMEngine's functions in this block.

    These are the runner's ``load_from`` and ``resume``, weights that a model's ``init_cfg`` names,
    ``init_detector`` and ``DetInferencer``; and files from everywhere: a path, ``https://``,
    ``torchvision://``, ``open-mmlab://``.

    Args:
        trust: Let checkpoints run code, after all.

    Example:
        >>> from mmattn.checkpoints import refuse_code
        >>> with refuse_code():
        ...     pass  # model = init_detector('config.py', 'somebodys.pth')
    """

    def guard(loader: Callable) -> Callable:
        if getattr(loader, 'trust', None) == trust:
            return loader
        return _guarded(getattr(loader, '__wrapped__', loader), trust)

    with loaders_wrapped(guard):
        yield


@contextmanager
def loaders_wrapped(wrap: Callable[[Callable], Callable]) -> Iterator[None]:
    """Put ``wrap(loader)`` in the place of each of MMEngine's loaders of checkpoints, in this block."""
    before = checkpoint_schemes()
    for prefix, loader in before.items():
        CheckpointLoader.register_scheme(prefix, wrap(loader), force=True)
    try:
        yield
    finally:
        for prefix, loader in before.items():
            CheckpointLoader.register_scheme(prefix, loader, force=True)


def _guarded(loader: Callable, trust: bool) -> Callable:
    """A loader of MMEngine's, which finds the file as before and reads it by :func:`load_data`."""

    @functools.wraps(loader)
    def load(filename: str, map_location: Any = None) -> Any:
        def read(file: str | os.PathLike | BinaryIO, map_location: Any = None, *_: Any, **__: Any) -> Any:
            if isinstance(file, (str, os.PathLike)):
                with open(file, 'rb') as opened:
                    return read(opened, map_location)
            if trust:
                return _load_trusted(file, filename, map_location)
            return load_data(file, filename, map_location)

        with mock.patch.object(torch, 'load', read):
            return loader(filename, map_location=map_location)

    load.trust = trust
    return load


def _load_trusted(file: BinaryIO, name: str, map_location: Any) -> Any:
    try:
        _require_no_code(file, name)
    except UntrustedCheckpoint as error:
        text = f'{error}'.partition('is not loaded, because it ')[2].partition('. ')[0]
        print_log(
            f"the checkpoint '{name}' {text}; it is loaded as a program, because it is trusted",
            logger='current',
            level=logging.WARNING,
        )
    file.seek(0)
    return serialization.load(file, map_location=map_location, weights_only=False)
