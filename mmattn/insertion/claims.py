"""Match rules to the sites of a model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from torch import nn

from mmattn.insertion.globs import glob_match, nearest_names
from mmattn.insertion.rule import EXAMPLE, Rule, parse_rule
from mmattn.insertion.site import Site
from mmattn.insertion.site_search import SiteTable, find_sites


def claim_sites(model: nn.Module, rules: Sequence[Mapping | Rule]) -> dict[Site, tuple[Rule, ...]]:
    """Return all sites that ``rules`` claim, each with its rules in the order of the blocks.

    The model is not changed, and the order of the rules does not matter.

    Raises:
        ValueError: A pattern matches nothing, or a module that cannot have a block; or two rules
            claim one site and have the same ``order``.
    """
    if isinstance(rules, (Mapping, Rule)):
        rules = [rules]
    if not isinstance(rules, (list, tuple)):
        raise TypeError(f'a list of rules is needed, such as [{EXAMPLE}]; got {rules!r}')
    rules = [parse_rule(rule) for rule in rules]
    if not rules:
        raise ValueError(f'no rule was given, so there is nothing to insert; a rule is {EXAMPLE}')
    table = find_sites(model)
    matcher = _Matcher(table)
    claims: dict[Site, list[int]] = {}
    for number, rule in enumerate(rules):
        for site in matcher.sites_of(rule):
            claims.setdefault(site, []).append(number)
    _require_distinct_orders(claims, rules)
    _require_distinct_keys(claims)
    # in the model's order
    return {site: tuple(rules[number] for number in claims[site]) for site in table.sites if site in claims}


def _require_distinct_orders(claims: dict[Site, list[int]], rules: list[Rule]) -> None:
    """Sort the rules of each site by ``order``; raise ``ValueError`` if two are equal."""
    for site, numbers in claims.items():
        numbers.sort(key=lambda number: rules[number].order)
        for one, other in zip(numbers, numbers[1:]):
            if rules[one].order == rules[other].order:
                raise ValueError(
                    f"two rules claim the site '{site.name}': number {one}, {rules[one]}, and number "
                    f"{other}, {rules[other]}; give them different 'order's to have both blocks there, the "
                    "lower first, or leave the site out of one with 'except_'"
                )


def _require_distinct_keys(claims: dict[Site, list[int]]) -> None:
    keys: dict[str, Site] = {}
    for site in claims:
        if keys.setdefault(site.key, site) is not site:
            raise ValueError(
                f"the sites '{keys[site.key].name}' and '{site.name}' would share the "
                f"name 'attention.{site.key}'; claim one of them"
            )


class _Matcher:
    """Finds the sites of rules, and the nearest names if there are none."""

    def __init__(self, table: SiteTable):
        self.table = table
        self.every = [*table.names, *table.refused]

    def sites_of(self, rule: Rule) -> list[Site]:
        """Return the sites that ``rule`` claims; raise ``ValueError`` if there is none."""
        table = self.table
        left_out: set[str] = set()
        for pattern in rule.except_:
            left_out.update(self._match(f"{rule}, 'except_'", pattern))
        excepted = {site for name in left_out for site in table.names.get(name, ())}
        found: dict[Site, None] = {}
        for pattern in rule.at:
            names = [name for name in self._match(rule, pattern) if name not in left_out]
            refused = [name for name in names if name in table.refused]
            if refused:
                near = self._near(refused[0])
                raise ValueError(
                    f'{rule}: {len(refused)} of the {len(names)} modules that {pattern!r} matches cannot '
                    f"have a block; the first is '{refused[0]}': {table.refused[refused[0]]}"
                    + (f'. Possible nearby: {", ".join(near[:3])}' if near else '')
                    + ("; or leave it out with 'except_'" if len(names) > len(refused) else '')
                )
            found.update((site, None) for name in names for site in table.names[name] if site not in excepted)
        if not found:
            raise ValueError(f"{rule}: 'except_' {list(rule.except_)} leaves nothing of what 'at' matches")
        return list(found)

    def _match(self, rule: Rule | str, pattern: str) -> list[str]:
        """Return the names that ``pattern`` matches; raise ``ValueError`` if there is none."""
        names = [name for name in self.every if glob_match(pattern, name)]
        if not names:
            near = self._mistaken(pattern) or nearest_names(pattern, self.every)
            raise ValueError(
                f'{rule}: nothing in the model matches {pattern!r}'
                + (f'; nearest: {", ".join(near)}' if near else '')
            )
        return names

    def _near(self, path: str) -> list[str]:
        """Return names of sites below ``path``, else beside it, the shallowest and most similar first."""
        similarity = difflib.SequenceMatcher(b=path)

        def distance(name: str) -> tuple[int, float]:
            similarity.set_seq1(name)
            return name.count('.'), -similarity.ratio()

        names = sorted(self.table.names, key=distance)
        return [name for name in names if name.startswith(f'{path}.')] or [
            name for name in names if name.startswith(path.rpartition('.')[0])
        ]

    def _mistaken(self, pattern: str) -> list[str]:
        """Return sites that ``pattern`` matches once a missing prefix or ``*`` is added."""
        segments = pattern.split('.')
        guesses = [['**', *segments]]
        guesses += [[*segments[:i], '*', *segments[i:]] for i in range(1, len(segments))]
        for guess in guesses:
            names = [name for name in self.table.names if glob_match('.'.join(guess), name)]
            if names:
                return names[:3]
        return []
