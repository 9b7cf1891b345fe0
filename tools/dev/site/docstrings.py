"""Docstrings as Markdown: they are written in reStructuredText, which editors and Sphinx read."""

from __future__ import annotations

import re
from textwrap import dedent

from griffe import Extension, Object

_ROLE = re.compile(r':(?:class|func|meth|attr|data|mod|exc):`([^`]+)`')
_LINK = re.compile(r'`([^`<]+?)\s*<([^>`]+)>`_+')
_SHAPE = re.compile(r'^Shape:\n((?:\n| +.*\n?)+)', re.MULTILINE)
_LITERAL_BLOCK = re.compile(r'::$(\n(?:\n| +.*\n?)+)', re.MULTILINE)


class Markdown(Extension):
    """Griffe's extension: rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: Object, **_) -> None:
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value, obj)


def to_markdown(text: str, obj: Object) -> str:
    """Return the text with Markdown's code, links and cross references in place of reStructuredText's."""
    text = _ROLE.sub(lambda role: _reference(role.group(1), obj), text)
    text = _LINK.sub(r'[\1](\2)', text)
    text = re.sub(r'(?<!`)``(?!`)', '`', text)
    text = re.sub(r'^Example:$', 'Examples:', text, flags=re.MULTILINE)  # Griffe's name of that section
    text = _SHAPE.sub(lambda shape: f'**Shape:**\n\n{dedent(shape.group(1))}', text)
    return _LITERAL_BLOCK.sub(_fenced, text)


def _reference(target: str, obj: Object) -> str:
    """Return a cross reference; mkdocstrings warns if it leads to nothing public."""
    name = target.lstrip('~')
    shown = name.rpartition('.')[2] if target.startswith('~') else name
    return f'[`{shown}`][{_full_name(name, obj)}]'


def _full_name(name: str, obj: Object) -> str:
    """Return the dotted name of what ``name`` means where ``obj`` is defined."""
    scope = obj
    while scope is not None:
        first, dot, rest = name.partition('.')
        if first in scope.members:
            member = scope.members[first]
            return (member.target_path if member.is_alias else member.path) + dot + rest
        scope = scope.parent
    return name


def _fenced(block: re.Match) -> str:
    code = dedent(block.group(1)).strip('\n')
    return f':\n\n```python\n{code}\n```\n'
