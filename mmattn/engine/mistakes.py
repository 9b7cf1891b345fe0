"""Tell a user's mistake, of which a tool prints the message alone, from a failure of the code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.runner import BaseLoop

BUILD_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    ImportError,
    SyntaxError,
    AssertionError,
    RuntimeError,
)
"""Errors by which OpenMMLab's packages, PyTorch and we refuse what a config, an option or a file asks for."""

_SET_UP_HOOKS = ('before_run', 'before_train', 'before_val', 'before_test')


@contextmanager
def user_input(
    what: str = '',
    errors: tuple[type[Exception], ...] = BUILD_ERRORS,
    unless: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Declare that an error raised inside is due to what the user gave: a config, options, files.

    The error is marked and goes on with its class, so callers in Python see no difference.
    The tools print the message of a marked error without a traceback.

    Errors of a training or test loop are not marked: by then everything is built and loaded. Neither are
    assertions without a text, of which only the traceback says what is wrong.

    Args:
        what: Put before the message, for example "no model was built from a.py".
        errors: The classes to mark.
        unless: Classes among them to leave unmarked.

    Example:
        >>> from mmattn.engine.mistakes import mistake_text, user_input
        >>> try:
        ...     with user_input('no number in --lr'):
        ...         float('fast')
        ... except ValueError as error:
        ...     print(mistake_text(error))
        no number in --lr: ValueError: could not convert string to float: 'fast'
    """
    try:
        yield
    except errors as error:
        silent = isinstance(error, AssertionError) and not str(error)
        if not (isinstance(error, unless) or silent or _was_running(error)):
            mark_mistake(error, what)
        raise


def mark_mistake(error: Exception, what: str = '') -> Exception:
    """Mark an error as the user's mistake, unless it is marked already; return it."""
    if mistake_text(error) is None:
        text = _text(error)
        named = what or ' ' not in text  # a lone word such as 'model' says nothing without its KeyError
        error.mistake_text = (
            f'{f"{what}: " if what else ""}{f"{type(error).__name__}: " if named else ""}{text}'
        )
    return error


def mistake_text(error: BaseException) -> str | None:
    """Return the message of a marked error; None if the error is not marked as the user's mistake."""
    return getattr(error, 'mistake_text', None)


def _text(error: Exception) -> str:
    # str() of a KeyError puts its message in quotes.
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def _was_running(error: Exception) -> bool:
    """True if the error was raised in a loop of MMEngine, except by a hook before its first step."""
    running = False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == 'run' and isinstance(frame.f_locals.get('self'), BaseLoop):
            running = True
        if frame.f_code.co_name == 'call_hook' and frame.f_locals.get('fn_name') in _SET_UP_HOOKS:
            return False
    return running
