"""The answer of a comparison holds what evaluation and statistics say, and its files hold the answer."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from mmattn.study.comparison import (
    compare_results,
    parse_variants,
    to_csv,
    to_json,
    to_markdown,
    write_answer,
)
from mmattn.study.comparison.tables import TextTable, answer_tables
from mmattn.study.evaluation import MISTAKES, EvaluationSettings, evaluate_run
from mmattn.study.evaluation.parts import mistake_cost, mistake_count
from tests.test_study.made_results import made_detections, made_ground_truth, write

TRUTH = made_ground_truth(images=30, objects=120)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('comparison')
    write(folder / 'ann.json', TRUTH)
    for variant, noise, first in (('plain', 0.2, 0), ('se', 0.03, 50), ('cbam', 0.2, 70)):
        for seed in range(3):
            found = made_detections(TRUTH, 300, seed=first + seed, many=False, noise=noise)
            write(folder / f'{variant}{seed}.json', found)
    return folder


def answer_of(folder, *arguments, **more):
    runs = parse_variants([argument.replace('@', f'{folder}/') for argument in arguments], ('bbox',))
    return compare_results(runs, EvaluationSettings(str(folder / 'ann.json')), ('bbox',), **more)


@pytest.fixture(scope='module')
def answer(folder):
    return answer_of(
        folder, 'plain=@plain0.json,@plain1.json,@plain2.json', 'se=@se*.json', 'cbam=@cbam0.json,@cbam1.json'
    )


def test_comparisons(answer, folder):
    assert (answer.control, answer.variants, answer.images) == ('plain', ('plain', 'se', 'cbam'), 30)
    (of_se,) = [each for each in answer.comparisons if (each.metric, each.variant) == ('bbox/AP', 'se')]
    settings = EvaluationSettings(str(folder / 'ann.json'), parts=('main',))
    values = {
        name: [evaluate_run(folder / f'{name}{seed}.json', settings).arrays['AP'][0] for seed in range(3)]
        for name in ('plain', 'se')
    }
    assert of_se.difference == pytest.approx(np.mean(values['se']) - np.mean(values['plain']), abs=1e-12)
    assert of_se.low < of_se.difference < of_se.high
    assert of_se.words == 'better'  # boxes of a seventh of the noise
    (of_cbam,) = [each for each in answer.comparisons if (each.metric, each.variant) == ('bbox/AP', 'cbam')]
    assert of_cbam.seeds == (0, 1)
    assert any('cbam: paired on 2 seeds' in note for note in answer.notes)


def test_mistakes(answer, folder):
    assert [(each.variant, each.mistake) for each in answer.mistakes] == [
        (variant, mistake) for variant in ('se', 'cbam') for mistake in MISTAKES
    ]
    settings = EvaluationSettings(str(folder / 'ann.json'), parts=('mistakes',))
    alone = [
        [evaluate_run(folder / f'{name}{seed}.json', settings).arrays for seed in range(3)]
        for name in ('plain', 'se')
    ]
    for each in answer.mistakes[: len(MISTAKES)]:
        for estimate, name, by in (
            (each.cost, mistake_cost(each.mistake), 1), (each.number, mistake_count(each.mistake), 30)
        ):  # fmt: skip
            control, variant = (np.mean([run[name][0] for run in runs]) / by for runs in alone)
            assert estimate.control == pytest.approx(control, abs=1e-12)
            assert estimate.variant == pytest.approx(variant, abs=1e-12)
            assert estimate.difference == pytest.approx(variant - control, abs=1e-12)
            assert estimate.low <= estimate.difference <= estimate.high
    localisation = answer.mistakes[MISTAKES.index('localisation')]
    assert localisation.number.high < 0  # less noise, fewer mistakes


def test_one_seed_makes_no_claim_about_seeds(folder):
    answer = answer_of(folder, '@plain0.json', '@se0.json')
    page = to_markdown(answer)
    assert 'nothing is claimed about the variants trained again' in page
    assert 'Intervals of 95 % hold for new images of the same source;' in page
    assert 'se0: one seed: the interval is about new images' in ''.join(answer.notes)
    assert '| better (these runs) |' in page and '| better |' not in page
    (ap,) = [each for each in answer.comparisons if each.metric == 'bbox/AP']
    assert ap.low < ap.difference < ap.high and ap.seeds_needed is None
    several = to_markdown(answer_of(folder, 'a=@plain0.json,@plain1.json', 'b=@se0.json,@se1.json'))
    assert 'hold for new seeds and new images' in several and 'trained again' not in several


def test_other_control(folder):
    answer = answer_of(folder, '@plain0.json', '@se0.json', control='se0')
    (ap,) = [each for each in answer.comparisons if each.metric == 'bbox/AP']
    assert (ap.variant, ap.control) == ('plain0', 'se0') and ap.difference < 0
    with pytest.raises(ValueError, match="no variant 'sam' to compare with; there are plain0, se0"):
        answer_of(folder, '@plain0.json', '@se0.json', control='sam')


def test_files_that_are_the_same_are_told(folder):
    answer = answer_of(folder, 'a=@plain0.json', 'b=@plain0.json')
    assert all(each.difference == 0 for each in answer.comparisons if not math.isnan(each.difference))
    assert not any('the same' in note for note in answer.notes)  # one file: the user typed it twice
    write(folder / 'copy.json', json.loads((folder / 'plain0.json').read_text()))
    assert any(
        'these files are the same: ' in note for note in answer_of(folder, '@plain0.json', '@copy.json').notes
    )


def test_a_file_without_detections_counts_and_is_told(folder):
    write(folder / 'empty.json', [])
    answer = answer_of(folder, '@plain0.json', '@empty.json')
    (ap,) = [each for each in answer.comparisons if each.metric == 'bbox/AP']
    assert ap.difference < 0 and ap.high < 0
    assert any('to 30 of 30 images have no detections; they count' in note for note in answer.notes)
    assert not any('may mean others' in note for note in answer.notes)


def test_shifted_categories_are_suspected(folder):
    """Ids that count from 0 and all exist: every detection is of the wrong class."""
    shifted = [
        dict(each, category_id=each['category_id'] % 9 + 2 if each['category_id'] < 9 else 1)
        for each in made_detections(TRUTH, 300, many=False)
    ]
    shifted = [dict(each, category_id=each['category_id'] // 2 * 2 + 1) for each in shifted]
    write(folder / 'shifted.json', shifted)
    notes = answer_of(folder, '@plain0.json', '@shifted.json').notes
    assert any('shifted.json: its image or category ids may mean others' in note for note in notes)


def test_markdown(answer):
    page = to_markdown(answer)
    assert page.startswith('# se, cbam against plain\n')
    tables = [table.title for table in answer_tables(answer)]
    assert tables == [
        'Boxes: metrics',
        'Boxes: what such a comparison can find',
        'Boxes: mistakes',
        'Boxes: AP of each class',
        'Boxes: images on which se and plain differ most',
        'Boxes: images on which cbam and plain differ most',
    ]
    assert [line[3:] for line in page.splitlines() if line.startswith('## ')] == tables
    table = TextTable('t', ('a|b', 'c'), (('x', '1'),))
    assert table.markdown() == '## t\n\n| a\\|b | c |\n|---|--:|\n| x | 1 |'
    console = Console(width=40, file=io.StringIO())
    console.print(TextTable('[red]t', ('[b]', 'c'), (('[i]x', '1'),)).for_screen())
    assert all(text in console.file.getvalue() for text in ('[red]t', '[b]', '[i]x'))


def test_csv_and_json(answer, folder, tmp_path):
    rows = list(csv.DictReader(io.StringIO(to_csv(answer))))
    assert len(rows) == len(answer.comparisons) == 2 * (12 + 6)
    content = json.loads(to_json(answer), parse_constant=lambda name: pytest.fail(f'{name} is no JSON'))
    for row, record, each in zip(rows, content['comparisons'], answer.comparisons):
        assert (
            (row['metric'], row['variant'])
            == (record['metric'], record['variant'])
            == (each.metric, each.variant)
        )
        assert float(row['difference']) == pytest.approx(each.difference, nan_ok=True)
        assert record['difference'] == (None if math.isnan(each.difference) else each.difference)
    assert content['runs'][0]['files']['bbox'].keys() == {'path', 'sha256'}
    assert len(content['mistakes']) == 12
    first = content['images_that_differ_most'][0]
    assert first['variant'] == 'se' and first['images'][0]['image'].endswith('.jpg')
    paths = write_answer(answer, tmp_path / 'new/folder')
    assert [path.rpartition('/')[2] for path in paths] == ['report.md', 'report.csv', 'report.json']


def test_main_metrics_alone(folder):
    runs = parse_variants([f'{folder}/plain0.json', f'{folder}/se0.json'], ('bbox',))
    settings = replace(EvaluationSettings(str(folder / 'ann.json')), parts=('main',))
    answer = compare_results(runs, settings, ('bbox',))
    assert len(answer_tables(answer)) == 2 and not answer.mistakes
    assert json.loads(to_json(answer))['mistakes'] == []
