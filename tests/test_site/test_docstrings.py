"""Docstrings in reStructuredText become Markdown."""

import docstrings
import griffe
import pytest


@pytest.fixture(scope='module')
def package():
    code = (
        'from os import path\n'
        'class A:\n'
        '    b = 1\n'
        '    def c(self): "text"\n'
    )  # fmt: skip
    return griffe.visit('m', None, code)


@pytest.mark.parametrize(
    'text, markdown',
    [
        ('``a * b``', '`a * b`'),
        ('`Hu et al., 2018 <https://a.org/1>`_.', '[Hu et al., 2018](https://a.org/1).'),
        ('`Long\n    names <https://a.org>`_', '[Long\n    names](https://a.org)'),
        (':class:`~mmattn.blocks.SE`', '[`SE`][mmattn.blocks.SE]'),
        (':func:`mmattn.attach`', '[`mmattn.attach`][mmattn.attach]'),
        (':meth:`c` and :class:`A`', '[`c`][m.A.c] and [`A`][m.A]'),
        (':meth:`A.c`', '[`A.c`][m.A.c]'),
        (':mod:`path`', '[`path`][os.path]'),
        ('Example:\n    >>> 1', 'Examples:\n    >>> 1'),
        ('Shape:\n    - Input: ``x``.\n\nmore', '**Shape:**\n\n- Input: `x`.\n\nmore'),
        ('Write::\n\n    a = 1\n        b\n\nmore', 'Write:\n\n```python\na = 1\n    b\n```\nmore'),
        ('a `b` and ```c```', 'a `b` and ```c```'),
    ],
)
def test_markdown(text, markdown, package):
    assert docstrings.to_markdown(text, package['A.c']) == markdown
