"""A training that is killed at random moments and resumed ends with the bits of one that is not."""

import json
import subprocess
import sys

import pytest

from tests.test_tools.killed_runs import SETTINGS, moments


def killed(folder, root, settings, kills, seed, record_property):
    command = [sys.executable, '-m', 'tests.test_tools.killed_runs', folder, '--settings', *settings]
    done = subprocess.run(
        [*map(str, command), '--kills', *map(str, kills), '--seed', str(seed)],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{')]
    assert [each['setting'] for each in found] == list(settings)
    for each in found:
        record_property(each['setting'], each)
        assert not each['differences'], each
    return [kill for each in found for kill in each['kills']]


def test_two_kills(tmp_path, request, record_property):
    kills = killed(tmp_path, request.config.rootpath, ['iterations'], [2], 1, record_property)
    assert len(kills) == 2 and any(kill['killed'] for kill in kills)


@pytest.mark.slow
def test_five_kills(tmp_path, request, record_property):
    """Loops by epochs, with workers, a moving average and accumulated gradients, and by iterations."""
    root = request.config.rootpath
    kills = killed(tmp_path, root, ['accumulation', 'iterations'], [3, 2], 1, record_property)
    assert len(kills) == 5 and sum(kill['killed'] for kill in kills) >= 4
    assert any('saving' in kill and kill['killed'] for kill in kills)


@pytest.mark.slow
@pytest.mark.parametrize('setting', SETTINGS)
def test_fifty_kills(tmp_path, request, record_property, setting):
    kills = killed(tmp_path, request.config.rootpath, [setting], [10], 2, record_property)
    assert sum(kill['killed'] for kill in kills) >= 6
    assert sum('saving' in kill and kill['killed'] for kill in kills) >= 2


def test_the_moments_follow_from_the_seed():
    import random

    one, other = (list(moments(random.Random('x 1'), 50)) for _ in range(2))
    assert one == other and len(one) == 50
    assert {key for kill in one for key in kill} == {'saving', 'after', 'step', 'evaluation', 'delay'}
