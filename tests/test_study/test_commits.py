"""Which commits trained the runs of a study, and what is said of it."""

import pytest

from mmattn.study.commits import commits_of, different_commits, other_commit

A, B = 'a' * 40, 'b' * 40


def record(*commits):
    """The record of a run with a session by each commit."""
    return dict(sessions=[dict(pid=1, **(dict(commit=commit) if commit != '' else {})) for commit in commits])


def test_a_run_has_the_commits_of_its_sessions():
    assert commits_of(record(A, A, f'{B}-dirty')) == ['a' * 12, 'bbbbbbbbbbbb with changes']
    assert commits_of(record(None)) == commits_of(record('')) == ['unknown']
    assert commits_of({}) == []


@pytest.mark.parametrize('records', [
    [record(A), record(A, A), {}],
    [record(''), record(None)],  # runs of before, and of an installed package
    [],
])  # fmt: skip
def test_one_commit_is_not_told(records):
    assert different_commits(records) is None and other_commit(records, A) is None


def test_several_are_told_with_the_number_of_their_runs():
    text = different_commits([record(A), record(A, B), record(''), record(f'{A}-dirty')])
    assert 'aaaaaaaaaaaa (2), bbbbbbbbbbbb (1), unknown (1), aaaaaaaaaaaa with changes (1);' in text


@pytest.mark.parametrize('now, words', [(B, 'b' * 12), (f'{A}-dirty', 'aaaaaaaaaaaa with changes'),
                                        (None, 'unknown')])  # fmt: skip
def test_who_goes_on_with_another_commit_is_warned(now, words):
    text = other_commit([record(A), record('', A), record('')], now)
    assert text.startswith('warning: ') and f'(2 by aaaaaaaaaaaa); this is {words}. ' in text
