"""What the values in nested dicts have to be, and which are not: for configs and for what files record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Wanted(NamedTuple):
    """What a value has to be.

    Attributes:
        text: It in words, for messages.
        fits: Whether a value is that.

    Example:
        >>> wanted = POSITIVE | NOTHING
        >>> wanted.text, wanted.fits(3), wanted.fits('3')
        ('a whole number from 1 on or None', True, False)
    """

    text: str
    fits: Callable[[Any], bool]

    def __or__(self, other: Wanted) -> Wanted:
        return Wanted(f'{self.text} or {other.text}', lambda value: self.fits(value) or other.fits(value))


def is_number(value: Any) -> bool:
    """True for a whole number or one with a point, but not for True and False."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: Any, least: int = 0, most: float = math.inf) -> bool:
    """True for a whole number in a range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


NOTHING = Wanted('None', lambda value: value is None)
BOOL = Wanted('True or False', lambda value: isinstance(value, bool))
TEXT = Wanted('a text', lambda value: isinstance(value, str))
DICT = Wanted('a dict', lambda value: isinstance(value, Mapping))
COUNT = Wanted('a whole number from 0 on', lambda value: is_whole(value, 0))
POSITIVE = Wanted('a whole number from 1 on', lambda value: is_whole(value, 1))
SEED = Wanted('a whole number from 0 to 4294967295', lambda value: is_whole(value, 0, 2**32 - 1))


def unfit_values(node: Any, keys: Mapping[str, Wanted]) -> Iterator[tuple[str, Any, Wanted]]:
    """Yield what does not fit: its dotted key, its value, and what it has to be.

    Args:
        node: A dict or a config.
        keys: What the value of each dotted key has to be, if the key is there. In them, ``*`` stands for
            every key of a dict and every place in a list.

    Example:
        >>> [key for key, _, _ in unfit_values({'a': [{'b': 1}, {'b': 'x'}]}, {'a.*.b': COUNT, 'c': COUNT})]
        ['a.1.b']
    """
    for key, wanted in keys.items():
        for name, value in values_at(node, key):
            if not wanted.fits(value):
                yield name, value, wanted


def values_at(node: Any, key: str, name: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the values that a dotted key names, each with its own key; none where there is none."""
    first, _, rest = key.partition('.')
    found: dict[str, Any] = {}
    if isinstance(node, (list, tuple)):
        found = {str(i): each for i, each in enumerate(node) if first in ('*', str(i))}
    elif hasattr(node, 'keys') and hasattr(node, 'items'):  # MMEngine's Config is no Mapping
        found = {str(each): node[each] for each in (node.keys() if first == '*' else [first]) if each in node}
    for each, value in found.items():
        here = f'{name}.{each}'.lstrip('.')
        yield from values_at(value, rest, here) if rest else [(here, value)]


def shown(value: Any) -> str:
    """The value as a message shows it: not all of a long one."""
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'
