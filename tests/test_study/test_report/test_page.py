"""The page of a study in a browser: it can be read and needs nothing else; all plots and images are there."""

import pytest

from mmattn.study.report import write_report
from tests.browser import WIDTHS, faults, opened


@pytest.fixture(scope='module')
def path(report):
    return write_report(report)[1]


def test_the_page_in_a_browser(browser, path):
    assert faults(browser, path) == []


def test_plots_and_images_are_seen(browser, path, report):
    for width in WIDTHS:
        with opened(browser, path, width) as page:
            plots = [each.bounding_box() for each in page.locator('figure > svg').all()]
            assert len(plots) == 4 and all(box['width'] > 250 and box['height'] > 60 for box in plots)
            assert page.locator('figure[role=img]').count() == 4
            panels = page.locator('.panels').first.locator('img')
            upper = [image.bounding_box()['y'] for image in panels.all()]
            assert len(upper) == len(report.images[0].panels)
            assert len(set(upper)) == (1 if width == 1400 else 2)  # beside each other, or two by two


def test_wide_tables_can_be_scrolled_by_keyboard(browser, path):
    with opened(browser, path, 390) as page:
        table = page.get_by_role('region', name='Boxes: mistakes')
        table.focus()
        page.keyboard.press('ArrowRight')
        page.wait_for_function('each => each.scrollLeft > 0', arg=table.element_handle())
