"""Read a checkpoint file, with errors that name the file and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mmengine.runner import CheckpointLoader

from mmattn.checkpoints.pretrained import NotFetched, load_checkpoints
from mmattn.checkpoints.state import state_dict_of


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
        ValueError: If it cannot be read, or holds no weights.
    """
    asked = f' ({what})' if what else ''
    if '://' not in path and not os.path.isfile(path):
        raise FileNotFoundError(f"no checkpoint file '{path}'{asked}; looked in {os.getcwd()}")
    try:
        with load_checkpoints(trust_checkpoint):
            checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    except (ValueError, NotFetched):  # says it all
        raise
    except Exception as error:  # a file that is no checkpoint may raise anything
        text = f'{type(error).__name__}: {error}'.partition('\n')[0]
        raise ValueError(f"'{path}'{asked} cannot be read as a checkpoint: {text}") from error
    try:
        state_dict_of(checkpoint)
    except ValueError as error:
        raise ValueError(f"'{path}'{asked}: {error}") from error
    return checkpoint
