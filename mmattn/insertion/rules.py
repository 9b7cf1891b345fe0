"""What a user asks for: blocks, and the places they go to."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import Any

from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from mmattn.blocks._checks import check_options
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.external import check_output
from mmattn.insertion.globs import glob_match, nearest_names
from mmattn.insertion.sites import Places, Site, find_places
from mmattn.registry import MODELS

_EXAMPLE = "dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.CBAM', start='identity'))"


@dataclass(frozen=True)
class Rule:
    """One entry of ``insert``.

    Args:
        at: A glob, or several, over site names (see :func:`~mmattn.insertion.globs.glob_match`).
        block: Config of the block, without ``in_channels``, which the site tells.
        except_: Globs of names to leave out. In a config ``except_=...``, or ``'except'`` as a string.
        order: Where several rules claim a site, the blocks follow one another by rising ``order``.
        freeze_with_host: Also freeze the block where all parameters of its host are frozen, as
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
    """A :class:`Rule` from an entry of ``insert``.

    Raises:
        TypeError, ValueError, KeyError: The entry is not a rule; the message says what is wrong.
    """
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, Mapping):
        raise TypeError(f'a rule is a dict such as {_EXAMPLE}; got {rule!r}')
    rule = {'except_' if key == 'except' else key: value for key, value in rule.items() if key != '_scope_'}
    known = [each.name for each in fields(Rule)]
    unknown = [key for key in rule if key not in known]
    if unknown:
        raise KeyError(f'a rule has no {unknown[0]!r}; it has {", ".join(known)}; got {rule}')
    for key in ('at', 'block'):
        if key not in rule:
            raise KeyError(f'a rule needs {key!r}; got {rule}; an example: {_EXAMPLE}')
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
        ours = f'mmattn.{kind}' if kind in MODELS.module_dict else 'mmattn.SE'
        raise KeyError(
            f'{rule}: no block {kind!r} in any registry; blocks of this package are '
            f'written with its name, such as {ours!r}'
        )
    return found


def build_block(rule: Rule, site: Site) -> nn.Module:
    """The block of ``rule`` for ``site``.

    Raises:
        KeyError: No such block. TypeError: No such option. ValueError: A value it cannot take.
    """
    cls = block_class(rule)
    _require_block(rule, cls)
    options = deepcopy({key: value for key, value in rule.block.items() if key != 'type'})
    try:
        check_options(cls, options)
        block = cls(in_channels=site.channels, **options)
        if not isinstance(block, AttentionBlock):  # ours keep the shape
            check_output(block, site.channels, cls.__name__)
        return block
    except (TypeError, ValueError) as error:
        raise type(error)(f'{rule}: {error}') from error


def _require_block(rule: Rule, cls) -> None:
    """Raise unless ``cls`` is a class of modules that can stand behind a host."""
    if not inspect.isclass(cls) or not issubclass(cls, nn.Module):
        raise TypeError(f'{rule}: {rule.block["type"]!r} is {cls!r}, which is no class of torch.nn.Module')
    if getattr(cls, 'role', None) == 'convolution':
        raise ValueError(
            f'{rule}: {cls.__name__} stands in place of a convolution, not behind a module: '
            f"give it to the backbone, as dcn=dict(type='mmattn.{cls.__name__}', "
            'fallback_on_stride=False), stage_with_dcn=(True, True, True, True)'
        )
    if 'in_channels' not in inspect.signature(cls).parameters:
        raise TypeError(
            f"{rule}: {cls.__name__} has no argument 'in_channels'. Write block=dict(type="
            f"'mmattn.External', module=dict(type={rule.block['type']!r}, ...), channels=...), "
            'with the name of its own argument for the channels; its arguments: '
            f'{", ".join(inspect.signature(cls).parameters)}'
        )


def claim_sites(model: nn.Module, rules: Sequence[Mapping | Rule]) -> dict[Site, tuple[Rule, ...]]:
    """All places that ``rules`` ask for, with their rules in the order of the blocks.

    The model is only looked at. The order of the rules makes no difference.

    Raises:
        ValueError: A pattern matches nothing, or a place where no block can stand; or two rules
            claim one site and have the same ``order``.
    """
    if isinstance(rules, (Mapping, Rule)):
        rules = [rules]
    if not isinstance(rules, (list, tuple)):
        raise TypeError(f'a list of rules is needed, such as [{_EXAMPLE}]; got {rules!r}')
    rules = [parse_rule(rule) for rule in rules]
    if not rules:
        raise ValueError(f'no rule was given, so there is nothing to insert; a rule is {_EXAMPLE}')
    places = find_places(model)
    claims: dict[Site, list[int]] = {}
    for number, rule in enumerate(rules):
        for site in _sites_of(places, rule):
            claims.setdefault(site, []).append(number)
    for site, numbers in claims.items():
        numbers.sort(key=lambda number: rules[number].order)
        for one, other in zip(numbers, numbers[1:]):
            if rules[one].order == rules[other].order:
                raise ValueError(
                    f"two rules claim the site '{site.name}': number {one}, {rules[one]}, and number "
                    f"{other}, {rules[other]}; give them different 'order's to have both blocks there, the "
                    "lower first, or leave the site out of one with 'except_'"
                )
    keys: dict[str, Site] = {}
    for site in claims:
        if keys.setdefault(site.key, site) is not site:
            raise ValueError(
                f"the sites '{keys[site.key].name}' and '{site.name}' would share the "
                f"name 'attention.{site.key}'; claim one of them"
            )
    # In the model's order, whatever that of the rules.
    return {site: tuple(rules[number] for number in claims[site]) for site in places.sites if site in claims}


def _sites_of(places: Places, rule: Rule) -> list[Site]:
    every = [*places.names, *places.refused]
    left_out = set()
    for pattern in rule.except_:
        left_out.update(_match(places, f"{rule}, 'except_'", pattern, every))
    excepted = {site for name in left_out for site in places.names.get(name, ())}
    found: dict[Site, None] = {}
    for pattern in rule.at:
        names = [name for name in _match(places, rule, pattern, every) if name not in left_out]
        refused = [name for name in names if name in places.refused]
        if refused:
            near = _near(places, refused[0])
            raise ValueError(
                f'{rule}: {len(refused)} of the {len(names)} modules that {pattern!r} matches cannot '
                f"hold a block; the first is '{refused[0]}': {places.refused[refused[0]]}"
                + (f'. Possible nearby: {", ".join(near[:3])}' if near else '')
                + ("; or leave it out with 'except_'" if len(names) > len(refused) else '')
            )
        found.update((site, None) for name in names for site in places.names[name] if site not in excepted)
    if not found:
        raise ValueError(f"{rule}: 'except_' {list(rule.except_)} leaves nothing of what 'at' matches")
    return list(found)


def _match(places: Places, rule: Rule | str, pattern: str, every: list[str]) -> list[str]:
    """The names that ``pattern`` matches; at least one, or an error."""
    names = [name for name in every if glob_match(pattern, name)]
    if not names:
        near = _mistaken(places, pattern) or nearest_names(pattern, every)
        raise ValueError(
            f'{rule}: nothing in the model matches {pattern!r}'
            + (f'; nearest: {", ".join(near)}' if near else '')
        )
    return names


def _near(places: Places, path: str) -> list[str]:
    """Names of sites below ``path``, else beside it: the shallowest and most similar first."""
    similarity = difflib.SequenceMatcher(b=path)

    def distance(name):
        similarity.set_seq1(name)
        return name.count('.'), -similarity.ratio()

    names = sorted(places.names, key=distance)
    return [name for name in names if name.startswith(f'{path}.')] or [
        name for name in names if name.startswith(path.rpartition('.')[0])
    ]


def _mistaken(places: Places, pattern: str) -> list[str]:
    """Sites that the pattern matches with a part it may have forgotten: a prefix, or a ``*``."""
    segments = pattern.split('.')
    guesses = [['**', *segments]]
    guesses += [[*segments[:i], '*', *segments[i:]] for i in range(1, len(segments))]
    for guess in guesses:
        names = [name for name in places.names if glob_match('.'.join(guess), name)]
        if names:
            return names[:3]
    return []
