"""The value `Rule`: one entry of `insert`, and how it is read from a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

EXAMPLE = "dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.CBAM', start='identity'))"
"""A rule to show in error messages."""


@dataclass(frozen=True)
class Rule:
    """One entry of ``insert``.

    Args:
        at: Globs over site names, matched segment by segment: ``*`` stays within a segment, ``**`` spans any
            number of them.
        block: Config of the block, without ``in_channels``, which are found at the site.
        except_: Globs of names to leave out. In a config ``except_=...``, or ``'except'`` as a string.
        order: Blocks on one site follow one another by rising ``order``.
        freeze_with_host: Also freeze the block if all parameters of its host are frozen, as
            mmdet's ``plugins=`` would: ``frozen_stages`` then reaches it. By default attention in a
            frozen stage is trained.
    """

    at: tuple[str, ...]
    block: dict[str, Any] = field(hash=False)
    except_: tuple[str, ...] = ()
    order: int = 0
    freeze_with_host: bool = False

    def __str__(self) -> str:
        at = self.at[0] if len(self.at) == 1 else list(self.at)
        return f'rule at={at!r}'


def parse_rule(rule: Mapping | Rule) -> Rule:
    """Return the :class:`Rule` that an entry of ``insert`` describes.

    Raises:
        TypeError, ValueError, KeyError: The entry is not a valid rule.
    """
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, Mapping):
        raise TypeError(f'a rule is a dict such as {EXAMPLE}; got {rule!r}')
    rule = {'except_' if key == 'except' else key: value for key, value in rule.items() if key != '_scope_'}
    known = [each.name for each in fields(Rule)]
    unknown = [key for key in rule if key not in known]
    if unknown:
        raise KeyError(f'a rule has no {unknown[0]!r}; it has {", ".join(known)}; got {rule}')
    for key in ('at', 'block'):
        if key not in rule:
            raise KeyError(f'a rule needs {key!r}; got {rule}; an example: {EXAMPLE}')
    block = rule['block']
    if not isinstance(block, Mapping) or not isinstance(block.get('type'), (str, type)):
        raise ValueError(
            f"a rule's 'block' is a config with a type, such as dict(type='mmattn.SE'); got {block!r}"
        )
    order, freeze = rule.get('order', 0), rule.get('freeze_with_host', False)
    if isinstance(order, bool) or not isinstance(order, int):
        raise ValueError(f"a rule's 'order' is an integer; got {order!r}")
    if not isinstance(freeze, bool):
        raise ValueError(f"a rule's 'freeze_with_host' is True or False; got {freeze!r}")
    block = {key: value for key, value in block.items() if key != '_scope_'}
    return Rule(_globs('at', rule['at']), block, _globs('except_', rule.get('except_', ())), order, freeze)


def _globs(key: str, value) -> tuple[str, ...]:
    globs = [value] if isinstance(value, str) else value
    if (
        not isinstance(globs, (list, tuple))
        or (key == 'at' and not globs)
        or not all(isinstance(pattern, str) and pattern for pattern in globs)
    ):
        raise ValueError(f"a rule's {key!r} is a glob or a list of globs; got {value!r}")
    return tuple(globs)
