"""NumPy's arrays and numbers out of a pickle, made from nothing but their bytes.

NumPy's own functions would take the state of a dtype as the file has it, and with it make an array of
objects from any bytes: addresses that are then followed.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import MutableMapping
from pickle import UnpicklingError
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

_KINDS = 'biufcSUmM?'
"""Kinds of dtypes that are numbers, times and texts; no objects and no records."""


class PickledDtype:
    """Stands for ``numpy.dtype`` while a file is read."""

    def __init__(self, descriptor: str, *_: Any):
        if not isinstance(descriptor, str) or np.dtype(descriptor).kind not in _KINDS:
            raise UnpicklingError(f'it has an array of {descriptor!r}, which holds more than numbers')
        self.dtype = np.dtype(descriptor)

    def __setstate__(self, state: tuple) -> None:
        # Of (version, byte order, subarray, names, fields, ...); all but the order is as the descriptor says.
        order = state[1]
        if order in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(order)


class PickledArray:
    """Stands for a ``numpy.ndarray`` until :func:`with_arrays` puts the array there."""

    def __init__(self, *_: Any):
        self.array = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, PickledDtype):
            raise UnpicklingError('it has an array without a dtype')
        flat = np.frombuffer(_bytes(data), dtype.dtype)
        flat = flat.astype(dtype.dtype.newbyteorder('='))  # a copy that can be written to
        self.array = flat.reshape(shape, order='F' if fortran else 'C')


def scalar(dtype: PickledDtype, data: bytes) -> np.generic:
    """A number of NumPy's."""
    if not isinstance(dtype, PickledDtype):
        raise UnpicklingError('it has a number without a dtype')
    return np.frombuffer(_bytes(data), dtype.dtype, count=1)[0]


def _bytes(data: bytes | str) -> bytes:
    return data.encode('latin1') if isinstance(data, str) else data


def with_arrays(value: Any, seen: dict[int, Any] | None = None) -> Any:
    """Return ``value``, as it was read from a file, with arrays in place of what stands for them."""
    seen = {} if seen is None else seen
    if isinstance(value, PickledArray):
        return value.array
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = value
    if isinstance(value, tuple):
        parts = [with_arrays(each, seen) for each in value]
        if any(new is not old for new, old in zip(parts, value)):
            value = type(value)(parts)
    elif isinstance(value, MutableMapping):
        _replace(value, value.items(), seen)
    elif isinstance(value, list):
        _replace(value, enumerate(value), seen)
    elif isinstance(value, (HistoryBuffer, Namespace)):
        _replace(vars(value), vars(value).items(), seen)
    return value


def _replace(holder: Any, items: Any, seen: dict[int, Any]) -> None:
    for key, old in list(items):
        new = with_arrays(old, seen)
        if new is not old:
            holder[key] = new
