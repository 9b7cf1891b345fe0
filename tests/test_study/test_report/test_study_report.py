"""The report of a study whose runs have made detections: all numbers in it come from their files."""

import csv
import io
import json
import math
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from mmengine.config import Config

from mmattn.study.record import FAILED, read_record, write_record
from mmattn.study.report import make_report, read_study_folder, write_report
from mmattn.study.report.costs import image_size
from mmattn.study.report.curves import curves_of
from mmattn.study.report.output import remarks, verdicts


class Page(HTMLParser):
    """The texts and the addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.addresses, self.ids = [], [], []
        self.feed(text)

    def handle_data(self, data):
        self.texts.append(data.strip())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs['id']] if 'id' in attrs else []
        self.addresses += [attrs[key] for key in ('src', 'href', 'xlink:href') if attrs.get(key)]


def test_the_answer_is_that_of_its_files(report, study, squares):
    """The means are pycocotools' of the files that the runs have left."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(squares / 'annotations/val.json'))
    for variant, seeds in (('plain', 3), ('se', 3), ('static_gate', 2)):
        found = []
        for seed in range(seeds):
            results = truth.loadRes(str(study / variant / f'seed_{seed}' / 'detections.bbox.json'))
            evaluation = COCOeval(truth, results, 'bbox')
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            found.append(evaluation.stats[0])
        summary = next(s for s in report.answer.summaries if (s.metric, s.variant) == ('bbox/AP', variant))
        assert summary.mean == pytest.approx(sum(found) / seeds, abs=1e-12)
    se = next(c for c in report.answer.comparisons if (c.metric, c.variant) == ('bbox/AP', 'se'))
    assert se.control == 'plain' and se.words == 'better' and se.low > 0.1


def test_what_is_missing_is_said(report):
    files = {path.suffix: path.read_text() for path in write_report(report)}
    assert 'different commits' not in files['.md']  # nothing is known of them
    assert '1 of 9 runs are missing: static_gate, seed 2: failed: the <disk> is full' in files['.md']
    assert 'the &lt;disk&gt; is full' in files['.html'] and 'the <disk>' not in files['.html']
    assert json.loads(files['.json'])['unfinished'] == {'static_gate/seed_2': 'failed: the <disk> is full'}


def test_runs_by_different_commits_are_told(study):
    for folder, commit in (('plain/seed_0', 'a' * 40), ('se/seed_1', f'{"b" * 40}-dirty')):
        record = read_record(study / folder)
        write_record(study / folder, record | dict(sessions=[dict(commit=commit)]))
    for text in (path.read_text() for path in write_report(make_report(study))[:2]):
        assert 'different commits of mmattn' in text
        assert 'aaaaaaaaaaaa (1), unknown (6), bbbbbbbbbbbb with changes (1)' in text
    assert (
        '| torch 2.13.0, mmattn 0.1 | bbbbbbbbbbbb with changes |' in (study / 'report/report.md').read_text()
    )
    runs = json.loads((study / 'report/report.json').read_text())['runs']
    (found,) = (run for run in runs if (run['variant'], run['seed']) == ('se', 1))
    record = read_record(study / 'se/seed_1')
    assert found['commits'] == ['bbbbbbbbbbbb with changes'] and found['config'] == record['hashes']['config']
    assert found['machine'] == record['machine'] and found['seconds'] == record['seconds']


def test_runs_that_wait_are_counted_and_nothing_is_claimed_of_them(study):
    """With one common seed the verdict is about these runs; with none there is no verdict."""
    for path in study.glob('*/seed_*'):
        paired = path.parent.name == 'se' and path.name == 'seed_1'
        unpaired = path.parent.name == 'static_gate' and path.name == 'seed_0'
        failed = read_record(path)['status'] == FAILED
        if not (paired or unpaired or failed or path.parent.name == 'plain' and path.name != 'seed_0'):
            write_record(path, read_record(path) | dict(status='waiting'))
    report = make_report(study, images=0)
    assert report.answer.variants == ('plain', 'static_gate', 'se')  # the study's order
    (gate, se) = verdicts(report)
    assert gate.endswith('**cannot tell**, for they have no seed in common yet')
    assert '**better (these runs)**' in se and se.endswith(', 1 seed)')
    missing = '5 of 9 runs are missing: 4 waiting; static_gate, seed 2: failed: the <disk> is full'
    assert remarks(report) == [missing]
    for path in write_report(report)[:2]:
        assert 'hold for new images of the same' in path.read_text()


def test_every_file_has_the_same_numbers(report):
    paths = write_report(report)
    assert [path.name for path in paths] == ['report.md', 'report.html', 'report.csv', 'report.json']
    markdown, page, table, content = (path.read_text() for path in paths)
    se = next(c for c in report.answer.comparisons if (c.metric, c.variant) == ('bbox/AP', 'se'))
    text = f'{100 * se.low:+.2f} to {100 * se.high:+.2f}'
    assert text in markdown and text in page
    rows = {(row['metric'], row['variant']): row for row in csv.DictReader(io.StringIO(table))}
    assert float(rows['bbox/AP', 'se']['difference']) == se.difference
    content = json.loads(content)
    found = next(c for c in content['comparisons'] if (c['metric'], c['variant']) == ('bbox/AP', 'se'))
    assert found['low'] == se.low and content['study']['control'] == 'plain'
    assert [row['model'] for row in content['costs']] == ['plain', 'static_gate', 'se']
    assert content['costs'][2]['attention_parameters'] > 0 == content['costs'][0]['attention_parameters']


def test_each_run_can_be_traced(report, study):
    page = Page(write_report(report)[1].read_text())
    record = read_record(study / 'se' / 'seed_1')
    assert 'se/seed_1' in page.texts and record['hashes']['config'][:12] in page.texts
    assert 'se/seed_1' in write_report(report)[0].read_text()
    assert record['hashes']['detections.bbox.json'][:12] in write_report(report)[0].read_text()


def test_the_page_needs_nothing_else(report):
    text = write_report(report)[1].read_text()
    page = Page(text)
    embedded = [address for address in page.addresses if address.startswith('data:image/jpeg;base64,')]
    inside = [address[1:] for address in page.addresses if address.startswith('#')]
    assert len(embedded) + len(inside) == len(page.addresses) and embedded and inside
    assert '<script' not in text and '@import' not in text and 'url(http' not in text
    assert len(page.ids) == len(set(page.ids)) > 0
    assert set(inside) <= set(page.ids)
    plots = [f'<svg{part.partition("</svg>")[0]}</svg>' for part in text.split('<svg')[1:]]
    assert len(plots) == 4
    for plot in plots:
        ElementTree.fromstring(plot)


def test_the_report_is_the_same_every_time(report):
    first = [path.read_text() for path in write_report(report)]
    again = [path.read_text() for path in write_report(make_report(report.folder.path))]
    assert first == again


def test_the_costs_of_all_are_shown_and_say_what_each_is(study):
    """Also of a variant of which no run is finished: operations of a control tell what it controls."""
    for path in study.glob('static_gate/seed_*'):
        write_record(path, read_record(path) | dict(status='waiting'))
    report = make_report(study)
    row = next(row for row in report.costs if row['model'] == 'static_gate')
    # a product for each element of the maps of two blocks in both stages, of 32 and 64 channels; and for
    # each channel a sigmoid, times 2
    operations = 2 * 32 * (row['height'] // 16) * (row['width'] // 16)
    operations += 2 * 64 * (row['height'] // 32) * (row['width'] // 32)
    operations += 2 * (2 * 32 + 2 * 64)
    assert row['attention_operations'] == operations
    markdown = write_report(report)[0].read_text()
    cost = markdown[markdown.index('## Cost') : markdown.index('## Runs')]
    assert f'| static_gate | static gate | {row["parameters"]:,} |' in cost
    assert f'{row["operations"] / 1e9:.3f} | {operations / 1e9:.4f}' in cost
    assert '| plain | plain |' in cost and '| se | variant |' in cost


def test_curves_have_mean_and_spread_over_seeds(study):
    curve = curves_of(read_study_folder(study).finished, 'bbox', 'AP')['plain']
    assert curve.steps == (1, 2) and curve.seeds == (3, 3)
    assert curve.mean == pytest.approx((0.1, 0.21)) and curve.spread == pytest.approx((0, 0.01))


def test_annotations_that_were_read_right_are_those_of_the_copy(study, squares, tmp_path):
    """The ids in the detections are the copy's; a run's config names it."""
    assert read_study_folder(study).ann_file == str(squares / 'annotations/val.json')
    path = study / 'plain' / 'seed_0' / 'config.py'
    cfg = Config.fromfile(path)
    cfg.val_dataloader.dataset.ann_file = str(
        shutil.copy(squares / 'annotations/val.json', tmp_path / 'copy.json')
    )
    cfg.dump(path)
    assert read_study_folder(study).ann_file == str(tmp_path / 'copy.json')


def test_the_size_of_images_is_that_of_the_evaluation(study):
    cfg = read_study_folder(study).config('se')
    height, width = image_size(cfg)
    scale = next(t.scale for t in cfg.val_dataloader.dataset.pipeline if 'Resize' in t.type)
    assert (height, width) == (min(scale), max(scale)) and not math.isnan(height)


@pytest.mark.parametrize('left', ['nothing', 'the control', 'one variant'])
def test_too_few_runs_are_refused(study, left):
    for path in study.glob('*/seed_*'):
        if left == 'nothing' or (path.parent.name == 'plain') == (left != 'the control'):
            write_record(path, read_record(path) | dict(status='waiting'))
    if left == 'the control':
        for path in study.glob('s*/seed_*'):
            write_record(path, read_record(path) | dict(status='waiting'))
    with pytest.raises(ValueError, match='compares at least one variant with the control, plain'):
        read_study_folder(study)


def test_another_folder_is_none_of_a_study(tmp_path):
    with pytest.raises(FileNotFoundError, match='is not the folder of a study'):
        make_report(tmp_path)
