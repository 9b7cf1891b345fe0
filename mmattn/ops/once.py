"""Warnings that are logged once in a process."""

from __future__ import annotations

import logging

from mmengine.logging import print_log

_warned: set[str] = set()


def warn_once(message: str) -> None:
    """Log a warning, the first time in this process."""
    if message not in _warned:
        _warned.add(message)
        print_log(f'mmattn: {message}', logger='current', level=logging.WARNING)
