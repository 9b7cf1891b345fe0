"""The demo's page in a browser: it can be read, needs nothing else, and shows all of what a run did."""

import json

import numpy as np
import pytest
from PIL import Image

from mmattn.demo.coco_metrics import NAMES
from mmattn.demo.page import write_page
from tests.browser import WIDTHS, faults, opened
from tests.test_visualization.helpers import inspect, preprocessed

FACTS = dict(
    config='configs/a_<b>.py', command='python tools/demo.py', versions=', '.join(['torch 1.2'] * 30)
)
CURVES = {
    'loss': [(25, 2.0), (50, 1.0)],
    'loss_cls': [(25, 1.0), (50, 0.5)],
    'coco/bbox_mAP': [(25, 0.1), (50, 0.55)],
}
METRICS = dict(dict.fromkeys(NAMES, 0.6), AP=0.55, AP50=0.75, APl=None)
PAIRS = [(f'val/{number}.png', Image.new('RGB', (648, 258), (0, 40 * number, 90))) for number in range(3)]


@pytest.fixture(scope='module')
def inspections():
    from mmengine.registry import DefaultScope

    image = np.random.default_rng(0).integers(0, 255, (50, 120, 3), dtype=np.uint8)
    with DefaultScope.overwrite_default_scope('mmdet'):
        one = inspect(preprocessed(), image)
    return [one, one]


@pytest.fixture(scope='module')
def path(inspections, tmp_path_factory):
    path = tmp_path_factory.mktemp('demo') / 'index.html'
    write_page(path, 'What a run of a_<b> did', FACTS, METRICS, CURVES, PAIRS, inspections)
    return path


def test_the_page_in_a_browser(browser, path):
    assert faults(browser, path) == []


def test_all_of_the_run_is_on_the_page(browser, path):
    with opened(browser, path) as page:
        text = page.locator('main').inner_text()
        assert page.title() == 'What a run of a_<b> did'
        assert page.locator('.verdicts li').all_inner_texts() == [
            'AP50 0.750: the target of 0.80 was missed',
            'AP 0.550: the target of 0.50 was reached',
        ]
        assert all(name in text and value in text for name, value in FACTS.items())
        rows = [row.split('\t')[:2] for row in page.locator('tbody tr').all_inner_texts()]
        assert rows == [[name, '-' if value is None else f'{value:.3f}'] for name, value in METRICS.items()]
        captions = page.locator('.plot figcaption').all_inner_texts()
        assert captions == ['Losses on the training images', 'AP on the validation images, 0.550 at the end']
        assert page.locator('.pairs img').count() == len(PAIRS)
        headings = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
        assert all(after <= before + 1 for before, after in zip(headings, headings[1:])), (
            'a level is left out'
        )


def test_plots_and_images_fit(browser, path):
    for width in WIDTHS:
        with opened(browser, path, width) as page:
            plots = [each.bounding_box() for each in page.locator('.plot svg').all()]
            assert len(plots) == 2 and all(box['width'] > 300 for box in plots)
            beside = plots[0]['y'] == plots[1]['y']
            assert beside == (width == 1400)
            for image in page.locator('.pairs img').all():
                box = image.bounding_box()
                assert box['x'] + box['width'] <= width
                assert box['width'] / box['height'] == pytest.approx(648 / 258, rel=0.02)  # not distorted


def test_the_slider_moves_the_image_by_keyboard(browser, path):
    with opened(browser, path) as page:
        section = page.locator('section').first
        slider = section.locator('input')
        names = json.loads(slider.get_attribute('data-names'))
        image = section.locator('.pair .site.shown img')
        source = image.get_attribute('src')
        slider.focus()
        page.keyboard.press('ArrowRight')
        assert section.locator('output').inner_text() == f'{names[1]} (2 of {len(names)})'
        assert image.get_attribute('src') != source and image.is_visible()
        assert page.complaints == []


def test_a_detector_without_gates(browser, tmp_path):
    path = tmp_path / 'index.html'
    write_page(path, 'plain', FACTS, dict.fromkeys(NAMES), CURVES, PAIRS, [])
    assert faults(browser, path) == []
    assert 'The detector has no attention whose gates can be shown.' in path.read_text()
