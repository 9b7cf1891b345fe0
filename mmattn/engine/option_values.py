"""Read the values of ``--cfg-options``, as MMEngine does, and those that MMEngine's reading loses."""

from __future__ import annotations

import ast
import re
from argparse import Namespace
from typing import Any

from mmengine.config import DictAction

_BLANK = '\0'
_INNER_BLANKS = re.compile(r'(?<=[^\s,()\[\]]) +(?=[^\s,()\[\]])')


def read_value(text: str) -> Any:
    """Return the value that the text of an option stands for.

    Everything is read as MMEngine's ``DictAction`` reads it, except what it cannot read or would change in
    silence: dicts and lists of them, texts in quotes, and blanks in a text.

    Args:
        text: What follows the ``=``.

    Raises:
        ValueError: If brackets or quotes are not closed, or a dict is none of Python's.

    Example:
        >>> read_value('3'), read_value('(320,320)'), read_value('a,b'), read_value('None')
        (3, (320, 320), ['a', 'b'], None)
        >>> read_value("[dict(type='EMAHook', momentum=1e-4)]")
        [{'type': 'EMAHook', 'momentum': 0.0001}]
        >>> read_value("['1', 'traffic light']"), read_value('my data/x.pth')
        (['1', 'traffic light'], 'my data/x.pth')
    """
    text = text.strip()
    if _has_dict(text) or text[:1] in ('[', '(', '"', "'") and re.search(r'[\'"]', text):
        value = _python_value(text)
        if not _is_lost(value, text):
            return value
        if _has_dict(text):
            raise ValueError(
                "it is not written as Python's values are; write for example "
                "[dict(type='EMAHook',momentum=0.0001)] and put it into double quotes for the shell"
            )
    if text[:1] in ('[', '(') and any(text.count(a) != text.count(b) for a, b in ('[]', '()')):
        raise ValueError('its brackets are not closed; put a value with blanks or brackets into quotes')
    try:
        return _with_blanks(_as_mmengine(_INNER_BLANKS.sub(_BLANK, text)))
    except AssertionError as error:
        raise ValueError('its brackets are not closed') from error


def _as_mmengine(text: str) -> Any:
    found = Namespace()
    DictAction((), 'options')(None, found, [f'value={text}'])
    return found.options['value']


_LOST = object()


def _has_dict(text: str) -> bool:
    return bool(re.match(r'[\s\[(]*(dict\s*\(|\{)', text))


def _is_lost(value: Any, text: str) -> bool:
    """True if the text is no value of Python, or, as ``('a')``, another one than MMEngine has for it."""
    return value is _LOST or text.startswith('(') and not isinstance(value, tuple)


def _python_value(text: str) -> Any:
    try:
        return _value(ast.parse(text, mode='eval').body)
    except (SyntaxError, ValueError, TypeError):
        return _LOST


def _value(node: ast.expr) -> Any:
    """Evaluate a literal of Python; ``dict(a=1)`` is one too."""
    if isinstance(node, (ast.List, ast.Tuple)):
        return (list if isinstance(node, ast.List) else tuple)(map(_value, node.elts))
    if isinstance(node, ast.Dict):
        return {ast.literal_eval(key): _value(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict' and not node.args:
        return {each.arg: _value(each.value) for each in node.keywords}
    return ast.literal_eval(node)


def _with_blanks(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_blanks, value))
    return value.replace(_BLANK, ' ') if isinstance(value, str) else value
