"""Describe the machine, the versions and the command that a benchmark ran with."""

import os
import shlex
import sys

from mmattn.engine.machine import describe_machine


def describe():
    """Return processor, threads, versions and command, for the head of a results file."""
    return dict(describe_machine(), command=_command())


def in_words(machine):
    """Return processor, threads and version of PyTorch of a results file as text."""
    return (
        f'{machine["processor"]}, {machine["threads"]} of {machine["cores"]} cores, '
        f'torch {machine["versions"]["torch"]}'
    )


def _command():
    # Only the last part of a path says something on another machine.
    parts = [os.path.basename(part.rstrip('/')) if os.path.isabs(part) else part for part in sys.argv[1:]]
    return shlex.join(['python', os.path.relpath(sys.argv[0]), *parts])
