"""The commits of mmattn that trained the runs of a study: told, if there are several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from mmattn.engine.source_commit import DIRTY

UNKNOWN = 'unknown'


def commits_of(record: Mapping[str, Any]) -> list[str]:
    """Return the commits that trained a run, in words: one for each that went on with it."""
    found = [_words(session.get('commit')) for session in record.get('sessions', ())]
    return list(dict.fromkeys(found))


def different_commits(records: Iterable[Mapping[str, Any]]) -> str | None:
    """Return a sentence if not all runs were trained by one commit; None if they were, or nothing is known.

    Args:
        records: Those of the runs.
    """
    count = Counter(commit for record in records for commit in commits_of(record))
    if len(count) < 2:
        return None
    parts = ', '.join(f'{commit} ({number})' for commit, number in count.items())
    return (
        f'The runs were trained by different commits of mmattn, and may differ by them too: {parts}; in '
        'brackets the number of runs.'
    )


def other_commit(records: Iterable[Mapping[str, Any]], now: str | None) -> str | None:
    """Return a warning if runs were begun by another commit than the one that would go on; else None.

    Args:
        records: Those of all runs of the study.
        now: What :func:`~mmattn.engine.source_commit.source_commit` returns.
    """
    others = Counter(
        commit for record in records for commit in commits_of(record) if commit not in (UNKNOWN, _words(now))
    )
    if not others:
        return None
    parts = ', '.join(f'{number} by {commit}' for commit, number in others.items())
    return (
        f'warning: runs of this study were trained by another commit of mmattn ({parts}); this is '
        f'{_words(now)}. The runs that follow may differ by it too, and the report will say so. To avoid '
        'that, check out that commit and give the same command again'
    )


def _words(commit: str | None) -> str:
    if commit is None:
        return UNKNOWN
    changed = ' with changes' if commit.endswith(DIRTY) else ''
    return f'{commit.removesuffix(DIRTY)[:12]}{changed}'
