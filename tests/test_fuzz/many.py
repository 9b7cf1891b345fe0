"""Draw many cases, run them, and count what happened."""

from __future__ import annotations

import importlib
import time
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis

from tests.test_fuzz.arena import Arena, check
from tests.test_fuzz.case import Case

SHARES = dict(configs=0.4, annotations=0.3, checkpoints=0.3)
"""The parts, and how large a share of the cases each has."""


def settings(number: int) -> hypothesis.settings:
    """The same cases at each run, and none made smaller: a mutation is small as it is."""
    return hypothesis.settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def nested(counts: Counter) -> dict[str, Any]:
    """Counts by tuples as dicts within dicts."""
    found: dict[str, Any] = {}
    for (*path, last), count in sorted(counts.items()):
        node = found
        for key in path:
            node = node.setdefault(key, {})
        node[last] = count
    return found


def run_cases(folder: Path, number: int) -> dict[str, Any]:
    """Run cases of all parts; return counts by part, mutation and outcome, and what failed."""
    began = time.monotonic()
    arena = Arena(folder)
    counts: dict[str, Counter] = {part: Counter() for part in SHARES}
    failures: list[dict[str, str]] = []
    slowest = 0.0

    def run(case: Case) -> None:
        nonlocal slowest
        start = time.monotonic()
        seen, wrong = check(arena, case)
        slowest = max(slowest, time.monotonic() - start)
        counts[case.part][case.mutation, case.outcome, seen] += 1
        if wrong:
            failures.append(dict(case=repr(case), wrong=wrong))

    for part, share in SHARES.items():
        cases = importlib.import_module(f'tests.test_fuzz.{part}').CASE
        settings(round(number * share))(hypothesis.given(cases)(run))()
    return dict(
        cases=sum(each.total() for each in counts.values()),
        # by part, by mutation, by what must happen, what did
        counts={part: nested(each) for part, each in counts.items()},
        failures=failures,
        slowest_seconds=round(slowest, 1),
        seconds=round(time.monotonic() - began, 1),
    )
