"""Read the weights in a public checkpoint: safetensors, or a file of PyTorch's that holds data only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmattn.checkpoints.convert.errors import NotConverted
from mmattn.checkpoints.read import read_checkpoint, require_numbers

_WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'net')


def read_source(path: str | os.PathLike) -> dict[str, Tensor]:
    """Return the weights in a file by their names, without the prefix of a distributed model.

    Raises:
        FileNotFoundError: There is no such file.
        UntrustedCheckpoint: It would run code.
        ValueError: It is damaged, or holds no weights.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no checkpoint file '{path}'; looked in {os.getcwd()}")
    if _is_safetensors(path):
        return _plain(_read_safetensors(path), path)
    return _plain(read_checkpoint(path), path)


def sha256_of(path: str | os.PathLike) -> str:
    """Return the hash of a file."""
    digest = hashlib.sha256()  # hashlib.file_digest is new in Python 3.11
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_safetensors(path: str) -> bool:
    with open(path, 'rb') as file:
        head = file.read(9)
    return path.endswith('.safetensors') or head[8:9] == b'{'  # after the length of its header


def _read_safetensors(path: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, 'pt') as file:
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' is damaged, or no safetensors file: {error}. Copy it again") from error
    try:
        require_numbers(state)
    except ValueError as error:
        raise ValueError(f"'{path}': {error}") from error
    return state


def _plain(checkpoint: Mapping[str, Any], path: str) -> dict[str, Tensor]:
    state: Any = checkpoint
    while isinstance(state, Mapping):
        inner = next((state[name] for name in _WRAPPERS if isinstance(state.get(name), Mapping)), None)
        if inner is None:
            break
        state = inner
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    others = [key for key in state if key not in tensors]
    if not tensors or others:
        found = ', '.join(map(repr, [*state][:5]))
        raise NotConverted(
            f"'{path}' holds no weights by their names, but {found}. A checkpoint has them at its top or "
            f'under {", ".join(_WRAPPERS)}'
        )
    return {key.removeprefix('module.'): value for key, value in tensors.items()}
