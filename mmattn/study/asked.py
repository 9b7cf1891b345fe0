"""Read the config file of a study or a search, and say what of it is not possible."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmattn.engine.data_root import read_config
from mmattn.engine.merge_options import merge_options


def read_asked(path: str, cfg_options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what is in the config file of a study or a search.

    Args:
        path: The file.
        cfg_options: Changes of it.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no study config '{path}' (looked in {os.getcwd()})")
    cfg = read_config(path)
    if cfg_options:
        merge_options(cfg, cfg_options)
    return cfg.to_dict()


def check_keys(
    given: Mapping[str, Any], known: Sequence[str], needed: Iterable[str], what: str, others: bool = False
) -> None:
    """Raise ``KeyError`` for keys that are missing, unknown or misspelt.

    Args:
        given: What is checked.
        known: The keys that are possible.
        needed: Those that must be there.
        what: What has them, for the message.
        others: Allow keys that are not close to a known one, as variables of a config file are.
    """
    for key in given:
        near = difflib.get_close_matches(key, known, 1, 0.8)
        if key not in known and (near or not others):
            close = f', which is close to {near[0]!r}' if near else ''
            raise KeyError(f'{what} has {key!r}{close}; possible: {", ".join(known)}')
    missing = [key for key in needed if key not in given]
    if missing:
        raise KeyError(f'{what} has no {missing[0]!r}; possible: {", ".join(known)}')


def check_choice(name: str, value: Any, choices: Sequence[str]) -> Any:
    """Return a value that is one of some; raise ``ValueError`` if it is none of them."""
    if value not in choices:
        raise ValueError(f'{name} has {value!r}; possible: {", ".join(map(repr, choices))}')
    return value
