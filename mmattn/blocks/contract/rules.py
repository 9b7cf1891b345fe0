"""The list of the contract's rules, and how a function becomes one."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import NamedTuple

from mmattn.blocks.contract.subject import Subject


class Rule(NamedTuple):
    """A rule of the contract.

    Attributes:
        keeps: Raises ``AssertionError`` or any other error if the subject breaks the rule.
        roles: The roles of the blocks that it holds for; empty: of all.
    """

    keeps: Callable[[Subject], None]
    roles: tuple[str, ...]


class NotChecked(Exception):
    """What a rule needs is not installed."""


RULES: dict[str, Rule] = {}
"""All rules by name, in the order in which a broken one explains the next."""


def rule(*roles: str) -> Callable:
    """Make a function a rule, for blocks of these roles or of all."""

    def register(function: Callable[[Subject], None]) -> Callable[[Subject], None]:
        RULES[function.__name__] = Rule(function, roles)
        return function

    return register


def rules_for(subject: Subject) -> list[str]:
    """Return the names of the rules that hold for blocks of the subject's role."""
    return [name for name, (_, roles) in RULES.items() if not roles or subject.role in roles]


def breaks(name: str, subject: Subject) -> str:
    """Return how a block breaks the rule of a name; empty if it keeps it.

    Raises:
        NotChecked: If the rule needs what is not installed.
    """
    try:
        RULES[name].keeps(subject)
    except NotChecked:
        raise
    except Exception as error:  # the code of a block may raise anything
        text = str(error) or traceback.extract_tb(error.__traceback__)[-1].line
        return text if isinstance(error, AssertionError) else f'{type(error).__name__}: {text}'
    return ''
