"""A search of real detectors, from the command line."""

import csv
import shutil
import subprocess
import sys

import pytest
from mmengine.config import Config

from mmattn.study.record import FINISHED, read_record
from mmattn.study.search.trial import PRUNED

SEARCH = """
base = 'base.py'
budget = dict(max_epochs=2)
search = dict(
    trials=3,
    pruner='none',
    sampler='grid',
    variant=dict(
        insert=[dict(
            at='backbone.layer[3-4].*.residual',
            block=dict(
                choices=[dict(type='mmattn.SE', reduction=dict(choices=[2, 4])), dict(type='mmattn.ECA')]))]),
)
confirm = dict(seeds=[5])
"""


@pytest.fixture
def a_search(base, tmp_path, monkeypatch):
    """A search of the easy data's detector."""
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)
    shutil.copy(base, tmp_path / 'base.py')
    path = tmp_path / 'search.py'
    path.write_text(SEARCH)
    return path


def run(root, path, *options):
    command = [sys.executable, 'tools/study.py', 'search', path, '--work-dir', path.parent / 'work', *options]
    return subprocess.run([*map(str, command)], cwd=root, capture_output=True, text=True)


@pytest.mark.slow
def test_a_search_its_winner_and_its_confirmation(a_search, request):
    root, work = request.config.rootpath, a_search.parent / 'work'
    done = run(root, a_search, '--confirm', '--workers', '2')
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader((work / 'trials.csv').read_text().splitlines()))
    assert sorted((row['insert.0.block'], row['insert.0.block.SE.reduction']) for row in rows) == [
        ('ECA', ''), ('SE', '2'), ('SE', '4'),
    ]  # fmt: skip
    assert done.stdout.count('best: coco/bbox_mAP') == 1
    assert [line.partition(' (')[0] for line in done.stdout.splitlines() if ' of 3): ' in line].count(
        'trial 0'
    ) == 1
    best = Config.fromfile(work / 'best.py')
    winner = max(rows, key=lambda row: (float(row['metric']), -int(row['trial'])))
    assert best.model.insert[0].block.type == f'mmattn.{winner["insert.0.block"]}'
    trained = Config.fromfile(work / 'trials' / winner['folder'] / 'config.py')
    assert best.model.to_dict() == trained.model.to_dict()
    for variant in ('plain', 'winner'):
        assert read_record(work / 'confirmation' / variant / 'seed_5')['status'] == FINISHED
    again = run(root, a_search)  # nothing is left to train
    assert again.returncode == 0 and 'trial ' not in again.stdout.partition('best:')[0]


@pytest.mark.slow
def test_a_trial_that_falls_behind_is_ended(a_search, request):
    from pathlib import Path

    from mmattn.study.asked import read_asked
    from mmattn.study.plan import Run
    from mmattn.study.search.settings import read_search
    from mmattn.study.search.trial import prepare_trial, train_trial
    from mmattn.study.variant_config import variant_config

    run_ = Run('trial', 0, a_search.parent / 'trial')
    asked = read_asked(str(a_search)) | dict(budget=dict(max_epochs=50))
    settings = read_search(str(a_search), asked)
    prepare_trial(run_, variant_config(asked, {}, str(a_search.parent)), settings.name)
    seen = []
    value = train_trial(run_, settings.metric, lambda number, value: seen.append(number) or number == 2)
    record = read_record(run_.folder)
    assert seen == [1, 2] and record['status'] == PRUNED and record['iteration'] < record['iterations']
    assert train_trial(run_, settings.metric, lambda *_: False) == value  # read, not trained
    assert Path(run_.folder, 'config.py').is_file()


@pytest.mark.parametrize(
    'text, says',
    [
        ('mmattn.SE', "search.variant: {'insert': [{'at': 'backbone.layer[3-4].*.residual', 'block': "),
        ('backbone.layer[3-4].*.residual', 'cannot be built'),
    ],
)
def test_a_choice_that_cannot_be_built_is_found_before_the_first_trial(a_search, request, text, says):
    a_search.write_text(a_search.read_text().replace(text, f'{text}X'))
    done = run(request.config.rootpath, a_search, '--workers', '2')
    assert done.stderr.count('study.py: ') == 1  # said once
    assert done.returncode == 2 and says in done.stderr and f'{text}X' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (a_search.parent / 'work').exists()
