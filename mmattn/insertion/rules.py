"""What a user asks for: blocks, and the places they go to."""
from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from mmattn.insertion.globs import glob_match, nearest_names
from mmattn.insertion.sites import Site, find_sites

_EXAMPLE = ("dict(at='backbone.layer[2-4].*.residual', "
            "block=dict(type='mmattn.CBAM', start='identity'))")


@dataclass(frozen=True)
class Rule:
    """One entry of ``insert``.

    Args:
        at: A glob, or several, over site names (see :func:`~mmattn.insertion.globs.glob_match`).
        block: Config of the block, without ``in_channels``, which the site tells.
        freeze_with_host: Also freeze the block where all parameters of its host are frozen, as
            mmdet's ``plugins=`` would: ``frozen_stages`` then reaches it. By default attention in a
            frozen stage is trained.
    """
    at: tuple[str, ...]
    block: dict[str, Any] = field(hash=False)
    freeze_with_host: bool = False

    def __str__(self) -> str:
        at = self.at[0] if len(self.at) == 1 else list(self.at)
        return f'rule at={at!r}'


def parse_rule(rule: Mapping | Rule) -> Rule:
    """A :class:`Rule` from an entry of ``insert``.

    Raises:
        TypeError, ValueError, KeyError: The entry is not a rule; the message says what is wrong.
    """
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, Mapping):
        raise TypeError(f'a rule is a dict such as {_EXAMPLE}; got {rule!r}')
    known = ('at', 'block', 'freeze_with_host')
    unknown = [key for key in rule if key not in known and key != '_scope_']
    if unknown:
        raise KeyError(f'a rule has no {unknown[0]!r}; it has {", ".join(known)}; got {dict(rule)}')
    for key in ('at', 'block'):
        if key not in rule:
            raise KeyError(f'a rule needs {key!r}; got {dict(rule)}; an example: {_EXAMPLE}')
    at = [rule['at']] if isinstance(rule['at'], str) else rule['at']
    if not isinstance(at, (list, tuple)) or not at or not all(
            isinstance(pattern, str) and pattern for pattern in at):
        raise ValueError(f"a rule's 'at' is a glob or a list of globs; got {rule['at']!r}")
    block = rule['block']
    if not isinstance(block, Mapping) or not isinstance(block.get('type'), (str, type)):
        raise ValueError("a rule's 'block' is a config with a type, such as "
                         f"dict(type='mmattn.SE'); got {block!r}")
    freeze = rule.get('freeze_with_host', False)
    if not isinstance(freeze, bool):
        raise ValueError(f"a rule's 'freeze_with_host' is True or False; got {freeze!r}")
    block = {key: value for key, value in block.items() if key != '_scope_'}
    return Rule(tuple(at), block, freeze)


def block_class(rule: Rule) -> type:
    """The class that a rule's block names."""
    kind = rule.block['type']
    if not isinstance(kind, str):
        return kind
    try:
        found = ROOT_MODELS.get(kind)
    except KeyError as error:
        raise KeyError(f'{rule}: {error.args[0]}') from None
    if found is None:
        raise KeyError(f'{rule}: no block {kind!r} in any registry; blocks of this package are '
                       "written with its name, such as 'mmattn.SE'")
    return found


def build_block(rule: Rule, site: Site) -> nn.Module:
    """The block of ``rule`` for ``site``.

    Raises:
        KeyError: No such block. TypeError: No such option. ValueError: A value it cannot take.
    """
    cls = block_class(rule)
    options = deepcopy({key: value for key, value in rule.block.items() if key != 'type'})
    known = [p for p in inspect.signature(cls).parameters if p not in ('in_channels', 'init_cfg')]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise TypeError(f'{rule}: {cls.__name__} has no option {name!r}' +
                            (f'; did you mean {near[0]!r}?' if near else '.') +
                            (' Channels are found at the site.' if name == 'in_channels' else '') +
                            f' Its options: {", ".join(known)}')
    try:
        return cls(in_channels=site.channels, **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f'{rule}: {error}') from error


def claim_sites(model: nn.Module, rules: Sequence[Mapping | Rule]) -> dict[Site, Rule]:
    """All places that ``rules`` ask for; the model is only looked at.

    Raises:
        ValueError: A pattern matches nothing, or a place where no block can stand; or two rules
            claim one site.
    """
    if isinstance(rules, (Mapping, Rule)):
        rules = [rules]
    if not isinstance(rules, (list, tuple)):
        raise TypeError(f'a list of rules is needed, such as [{_EXAMPLE}]; got {rules!r}')
    rules = [parse_rule(rule) for rule in rules]
    if not rules:
        raise ValueError(f'no rule was given, so there is nothing to insert; a rule is {_EXAMPLE}')
    found = find_sites(model)
    claims: dict[Site, Rule] = {}
    for rule in rules:
        for pattern in rule.at:
            for site in _matches(found, rule, pattern):
                if claims.get(site, rule) is not rule:
                    numbers = [next(i for i, r in enumerate(rules) if r is each)
                               for each in (claims[site], rule)]
                    raise ValueError(
                        f"two rules claim the site '{site.name}': number {numbers[0]}, "
                        f'{claims[site]}, and number {numbers[1]}, {rule}; a site holds one block')
                claims[site] = rule
    keys: dict[str, Site] = {}
    for site in claims:
        if keys.setdefault(site.key, site) is not site:
            raise ValueError(f"the sites '{keys[site.key].name}' and '{site.name}' would share the "
                             f"name 'attention.{site.key}'; claim one of them")
    # In the model's order, whatever that of the rules.
    return {site: claims[site] for site in found.values() if site in claims}


def _matches(found: dict[str, Site | str], rule: Rule, pattern: str) -> list[Site]:
    names = [name for name in found if glob_match(pattern, name)]
    if not names:
        near = _mistaken(found, pattern) or nearest_names(pattern, found)
        raise ValueError(f'{rule}: nothing in the model matches {pattern!r}' +
                         (f'; nearest: {", ".join(near)}' if near else ''))
    refused = [name for name in names if isinstance(found[name], str)]
    if refused:
        possible = [name for name, site in found.items() if isinstance(site, Site)
                    and name.startswith(refused[0].rpartition('.')[0])]
        raise ValueError(
            f'{rule}: {len(refused)} of the {len(names)} modules that {pattern!r} matches cannot '
            f"hold a block; the first is '{refused[0]}': {found[refused[0]]}" +
            (f'. Possible nearby: {", ".join(possible[:3])}' if possible else ''))
    return [found[name] for name in names]


def _mistaken(found: dict[str, Site | str], pattern: str) -> list[str]:
    """Sites that the pattern matches with a part it may have forgotten: a prefix, or a ``*``."""
    segments = pattern.split('.')
    guesses = [['**', *segments]]
    guesses += [[*segments[:i], '*', *segments[i:]] for i in range(1, len(segments))]
    for guess in guesses:
        names = [name for name, site in found.items()
                 if isinstance(site, Site) and glob_match('.'.join(guess), name)]
        if names:
            return names[:3]
    return []
