"""The HTML page is complete and needs no other file."""

import html
import json
import re

import numpy as np
import pytest

from mmattn.visualization import write_attention_page
from tests.browser import faults, opened
from tests.test_visualization.helpers import (
    inspect,
    preprocessed,
)


def test_the_page_stands_alone_and_has_every_site(wide, tmp_path):
    one = inspect(preprocessed(), wide)
    other = inspect(preprocessed(at='backbone.layer4.1.residual', block='mmattn.SE'), wide[:, :40])
    path = tmp_path / 'page.html'
    write_attention_page([{'a': one, 'b & <c>': other}], path, 'a <b>', 'text')
    page = path.read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page) and 'url(' not in page and '@import' not in page
    assert 'http' not in re.sub(r'base64,[^"]*', '', page)
    names = json.loads(html.unescape(re.search(r'data-names="([^"]*)"', page)[1]))
    assert names == [site.name for site in one.sites]
    assert page.count('This detector has no such site') == 7 and 'b &amp; &lt;c&gt;' in page
    assert f'max="{len(names) - 1}"' in page


@pytest.fixture(scope='module')
def page_file(tmp_path_factory):
    """A page of two images and two detectors, one of which has a site alone."""
    from mmengine.registry import DefaultScope

    wide = np.random.default_rng(0).integers(0, 255, (50, 120, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp('page') / 'page.html'
    with DefaultScope.overwrite_default_scope('mmdet'):
        one = inspect(preprocessed(), wide, cam_layer='backbone.layer4')
        other = inspect(preprocessed(at='backbone.layer4.1.residual', block='mmattn.SE'), wide)
        write_attention_page([{'cbam': one, 'se': other}, {'cbam': one}], path, 'cbam against se', 'text')
    return path


def test_the_page_in_a_browser(browser, page_file):
    assert faults(browser, page_file) == []


def test_plots_stay_readable_on_a_phone_and_are_scrolled_by_keyboard(browser, page_file):
    with opened(browser, page_file, 390) as page:
        chart = page.get_by_role('region', name='channel gates of every site').first
        assert chart.bounding_box()['width'] < 390 and chart.locator('img').bounding_box()['width'] > 500
        chart.focus()
        page.keyboard.press('ArrowRight')
        page.wait_for_function('each => each.scrollLeft > 0', arg=chart.element_handle())


def test_dark_is_dark_here_too(browser, page_file):
    for dark in (False, True):
        with opened(browser, page_file, dark=dark) as page:
            shade = page.evaluate(
                "getComputedStyle(document.querySelector('.control')).backgroundColor.match(/\\d+/)[0]"
            )
            assert (int(shade) < 60) == dark


def test_the_slider_moves_the_image_by_mouse_and_by_keyboard(browser, page_file):
    with opened(browser, page_file) as page:
        section = page.locator('section').first
        slider, label = section.locator('input'), section.locator('output')
        names = json.loads(slider.get_attribute('data-names'))

        def shown():
            """The site whose gates are seen, by each detector's heading and image."""
            headings = section.locator('.site.shown h3').all_inner_texts()
            return headings, section.locator('.site.shown .pair img, .pair .site.shown img').first

        before, image = shown()
        assert (
            before[0].startswith(f'{names[0]}:') and label.inner_text() == f'{names[0]} (1 of {len(names)})'
        )
        source = image.get_attribute('src')
        slider.focus()
        page.keyboard.press('ArrowRight')
        after, image = shown()
        assert after[0].startswith(f'{names[1]}:') and label.inner_text().startswith(names[1])
        assert image.get_attribute('src') != source and image.is_visible()
        page.keyboard.press('End')
        assert label.inner_text() == f'{names[-1]} ({len(names)} of {len(names)})'
        box = slider.bounding_box()
        page.mouse.click(box['x'] + 2, box['y'] + box['height'] / 2)
        assert label.inner_text().startswith(f'{names[0]} (1 of')
        # the slider of the other image has not moved
        assert page.locator('section').nth(1).locator('output').inner_text().startswith(names[0])
        assert page.complaints == []
