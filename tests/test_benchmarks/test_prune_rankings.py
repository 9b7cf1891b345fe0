"""The table of pruned detectors is that of the committed file, and its rankings are comparable."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))
import prune_rankings  # noqa: E402
import study_page  # noqa: E402


@pytest.fixture
def results():
    return json.loads(prune_rankings.RESULTS.read_text(encoding='utf-8'))


def test_the_committed_page_is_of_the_committed_file(results):
    assert prune_rankings.page(results) == prune_rankings.PAGE.read_text(encoding='utf-8')


def test_the_rankings_differ_in_channels_alone(results):
    """The same detector before, as many channels of each group after, and all of them ranked as asked."""
    for by_rank in (each['rankings'] for each in results['targets'].values()):
        first = by_rank['magnitude']
        for rank, record in by_rank.items():
            assert record['rank'] == rank
            assert all(group['ranked'] for group in record['groups'])
            for key in ('parameters', 'operations', prune_rankings.AP):
                assert record['before'][key] == first['before'][key]
            for key in ('parameters', 'operations'):
                assert record['after'][key] == first['after'][key]
            assert [
                {key: group[key] for key in ('layers', 'channels', 'taken')} for group in record['groups']
            ] == [{key: group[key] for key in ('layers', 'channels', 'taken')} for group in first['groups']]
            assert record['target'] == first['target'] and record['ignore'] == first['ignore']


def test_the_words_of_the_page_are_those_of_the_studies():
    """Gates beat magnitude nowhere, were worse in one of four, and better than chance in three."""
    studies = [
        json.loads(study_page.file_of(name).read_text(encoding='utf-8'))
        for name, page in study_page.STUDIES.items()
        if page == prune_rankings.PAGE.name
    ]
    of_gates = [
        each['verdict']
        for study in studies
        for each in study['comparisons']
        if (each['variant'], each['metric']) == ('gates', 'bbox/AP')
    ]
    assert sorted(of_gates) == ['cannot tell'] * 3 + ['worse']
    assert sorted(study['pairs'][0]['verdict'] for study in studies) == ['better'] * 3 + ['cannot tell']


def test_targets_are_met(results):
    for by_rank in (each['rankings'] for each in results['targets'].values()):
        for record in by_rank.values():
            for key, name in (('parameters', 'parameters'), ('ops', 'operations')):
                part = record['target'][key]
                if part is not None:
                    share = record['after'][name] / record['before'][name]
                    assert 0.9 * part < share <= part
