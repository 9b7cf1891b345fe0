"""Keep evaluations by content: what was evaluated once is read, whatever its files are called by now."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmattn.files import write_file


def cache_key(content: Mapping[str, Any]) -> str:
    """Return the name of a cached evaluation: a hash of all that decides what comes out."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def cached(
    folder: str | os.PathLike | None, key: str, compute: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return arrays from the cache, or compute them and put them there.

    A file that is damaged is computed and written anew.

    Args:
        folder: The cache, which is made if it is missing. None to compute without a cache.
        key: From :func:`cache_key`.
        compute: Returns the arrays.
    """
    if folder is None:
        return compute()
    path = Path(folder) / f'{key}.evaluation'
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except _Damaged:
        text = f"'{path}' in the cache of evaluations is damaged: it is evaluated and written anew"
        print_log(text, 'current', logging.WARNING)
    arrays = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, _packed(arrays))
    return arrays


class _Damaged(ValueError):
    """The content of a cached file is not what was written."""


# A digest, then the arrays. Their names, among them those of classes, may be no names of files, so they
# are an array themselves.
def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer, names=np.array(list(arrays)), **{f'a{i}': each for i, each in enumerate(arrays.values())}
    )
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def _read(path: Path) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    digest, packed = content[:32], content[32:]
    if hashlib.sha256(packed).digest() != digest:
        raise _Damaged(str(path))
    with np.load(io.BytesIO(packed), allow_pickle=False) as file:
        return {str(name): file[f'a{i}'] for i, name in enumerate(file['names'])}
