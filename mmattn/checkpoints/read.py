"""Read a checkpoint file, with errors that name the file and what is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.runner import CheckpointLoader
from torch import Tensor

from mmattn._private_apis import checkpoint_schemes
from mmattn.checkpoints.damage import damage_of
from mmattn.checkpoints.pretrained import NotFetched, load_checkpoints
from mmattn.checkpoints.state import state_dict_of


def has_loader(path: str) -> bool:
    """Whether this is no path, but an address that MMEngine loads from, such as ``https://...``."""
    return any(scheme and re.match(scheme, path) for scheme in checkpoint_schemes())


def read_checkpoint(path: str, what: str = '', trust_checkpoint: bool = False) -> Mapping[str, Any]:
    """Read a checkpoint onto the CPU.

    Args:
        path: A file, or a URL or a name that MMEngine loads.
        what: How the file was asked for, for example ``'--resume'``; part of the error.
        trust_checkpoint: Let it run code, see :func:`~mmattn.checkpoints.refuse_code`.

    Raises:
        FileNotFoundError: If there is no such file.
        NotFetched: If it cannot be fetched.
        UntrustedCheckpoint: If it would run code, and is not trusted.
        ValueError: If it cannot be read, is damaged, holds no weights, or weights that are NaN or infinite.
    """
    asked = f' ({what})' if what else ''
    if not has_loader(path) and not os.path.isfile(path):
        raise FileNotFoundError(f"no checkpoint file '{path}'{asked}; looked in {os.getcwd()}")
    if path.endswith('.py'):
        raise ValueError(
            f"'{path}'{asked} is a config, not a checkpoint: the config comes first, then the file"
        )
    if not has_loader(path) and (damage := damage_of(path)) and damage.startswith('is damaged'):
        raise ValueError(f"'{path}'{asked} {damage}. Copy it again, or take another checkpoint")
    try:
        with load_checkpoints(trust_checkpoint):
            checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    except (ValueError, NotFetched):  # says it all
        raise
    except Exception as error:  # a file that is no checkpoint may raise anything
        text = f'{type(error).__name__}: {error}'.partition('\n')[0]
        raise ValueError(f"'{path}'{asked} cannot be read as a checkpoint: {text}") from error
    try:
        require_numbers(state_dict_of(checkpoint))
    except ValueError as error:
        raise ValueError(f"'{path}'{asked}: {error}") from error
    return checkpoint


def require_numbers(state: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` if a weight is NaN or infinite; minus infinity may stand in a mask."""
    broken = [
        name
        for name, value in state.items()
        if isinstance(value, Tensor)
        and value.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        and value.layout == torch.strided
        and not bool((value < torch.inf).all())
    ]
    if broken:
        raise ValueError(
            f'{len(broken)} of {len(state)} weights hold NaN or infinite values, the first is {broken[0]}. '
            'The training diverged that it comes from, or the file is damaged: take an earlier checkpoint'
        )
