"""The images on which variant and control differ most, drawn: the right ones, with the right boxes."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmattn.study.report import read_study_folder, write_report
from mmattn.study.report.image_rows import SCORE_THR, image_rows


@pytest.fixture(scope='module')
def rows(report):
    return [row for row in report.images if row.variant == 'se']


def drawn_boxes(work, variant, seed, image_id):
    found = json.loads((work / variant / f'seed_{seed}' / 'detections.bbox.json').read_text())
    return [each for each in found if each['image_id'] == image_id and each['score'] >= SCORE_THR]


def test_the_most_gained_come_first_then_the_most_lost(report, rows):
    assert {row.variant for row in report.images} == {'se', 'static_gate'}
    for variant in ('se', 'static_gate'):
        found = [row for row in report.images if row.variant == variant]
        gained = [row.difference.difference for row in found if row.change == 'gained']
        lost = [row.difference.difference for row in found if row.change == 'lost']
        assert [row.change for row in found] == ['gained'] * len(gained) + ['lost'] * len(lost)
        assert gained == sorted(gained, reverse=True) and lost == sorted(lost)
        everywhere = [each.difference for each in report.answer.different_images['bbox', variant]]
        assert gained == sorted((d for d in everywhere if d > 0), reverse=True)[:3]
        assert lost == sorted(d for d in everywhere if d < 0)[:3]
    assert len([row for row in rows if row.change == 'gained']) == 3


def test_the_boxes_are_those_of_the_same_seed_of_both(rows, study, squares):
    truth = json.loads((squares / 'annotations/val.json').read_text())
    ids = {image['file_name']: image['id'] for image in truth['images']}
    for row in rows:
        seed = row.difference.seed
        assert f'Shown: seed {seed} of both' in row.about
        objects = [each for each in truth['annotations'] if each['image_id'] == ids[row.name]]
        captions = [panel.caption for panel in row.panels[:3]]
        assert captions == [
            f'ground truth ({len(objects)})',
            f'plain, detections ({len(drawn_boxes(study, "plain", seed, ids[row.name]))})',
            f'se, detections ({len(drawn_boxes(study, "se", seed, ids[row.name]))})',
        ]
        for panel in row.panels:
            assert row.name in panel.alt and max(panel.image.size) == 320


def test_a_box_is_drawn_where_it_is(rows, squares):
    """Pixels differ from the image's own along the boxes, and not away from them."""
    truth = json.loads((squares / 'annotations/val.json').read_text())
    row = rows[0]
    (image,) = (each for each in truth['images'] if each['file_name'] == row.name)
    with Image.open(squares / 'images' / row.name) as file:
        plain = file.convert('RGB').resize((320, 320), Image.Resampling.BICUBIC)
    changed = (np.asarray(row.panels[0].image) != np.asarray(plain)).any(-1)
    allowed = np.zeros_like(changed)
    for each in (each for each in truth['annotations'] if each['image_id'] == image['id']):
        x, y, w, h = (value * 320 / image['width'] for value in each['bbox'])
        assert changed[round(y + h / 2), round(x) - 2 : round(x) + 6].any()
        allowed[max(int(y) - 18, 0) : int(y + h) + 6, max(int(x) - 4, 0) : int(x + max(w, 60)) + 6] = True
    assert changed.any() and not (changed & ~allowed).any()


def test_rows_without_gates_say_why(report, rows):
    assert {row.difference.seed for row in rows} > {2}  # the seed without a checkpoint, and others
    for row in rows:
        if row.difference.seed == 2:
            assert len(row.panels) == 3 and 'Without gates: there is no checkpoint in' in row.note
        else:
            assert len(row.panels) == 4 and not row.note
            assert row.panels[3].caption.startswith('se, channel gates, 4 sites')
    for path in write_report(report)[:2]:
        assert 'Without gates: there is no checkpoint in' in path.read_text()


def test_the_files_are_those_of_the_report(report, study):
    folder = study / 'report' / 'images'
    folder.mkdir(parents=True, exist_ok=True)
    for name in ('bbox_gone_gained_1.png', 'mine.png'):
        (folder / name).write_bytes(b'')
    report = replace(report, folder=read_study_folder(study))
    markdown, page, _, content = (path.read_text() for path in write_report(report))
    named = re.findall(r'!\[[^]]+\]\(images/([^)]+)\)', markdown)
    assert sorted([*named, 'mine.png']) == sorted(path.name for path in folder.iterdir())
    assert {'bbox_static_gate_gained_1.png', 'bbox_se_gained_3.png'} <= set(named)
    for name in named:
        with Image.open(folder / name) as image:
            assert image.width >= 3 * 320
    assert page.count('<img ') == sum(len(row.panels) for row in report.images)
    assert page.count('data:image/jpeg;base64,') == page.count('<img ')
    drawn = json.loads(content)['drawn_images']
    assert [f'images/{name}' for name in named] == [each['file'] for each in drawn]
    assert image_rows(report.folder, report.answer, 0) == ()


def test_an_image_that_is_gone_is_said(report, study, squares, tmp_path):
    data = tmp_path / 'data'
    shutil.copytree(squares, data)
    cfg = Config.fromfile(study / 'plain' / 'seed_0' / 'config.py')
    cfg.val_dataloader.dataset.data_root = f'{data}/'
    cfg.dump(study / 'plain' / 'seed_0' / 'config.py')
    (data / 'images' / report.images[0].name).unlink()
    folder = read_study_folder(study)
    report = replace(report, folder=folder, images=image_rows(folder, report.answer, 1))
    row = report.images[0]
    assert row.panels == () and row.note.startswith('Not drawn, the image cannot be read: it cannot be read')
    assert row.note in write_report(report)[0].read_text()
    assert not (study / 'report' / 'images' / row.file).exists()
