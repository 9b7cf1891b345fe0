"""The site in a browser: from a folder, and served."""

import functools
import http.server
import threading

import pytest

from tests.browser import WIDTHS, faults, opened

# The home, a page of the reference; and with more time one of wide tables, one with an image.
PAGES = (
    'index',
    'reference/mmattn.insertion',
    pytest.param('speed', marks=pytest.mark.slow),
    pytest.param('visualization', marks=pytest.mark.slow),
)


@pytest.fixture(scope='module')
def served(site):
    """Address of the site on a server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()


@pytest.mark.parametrize('page', PAGES)
def test_a_page_has_no_fault(page, browser, site):
    assert faults(browser, site / f'{page}.html', within=site) == []


def test_a_wide_table_scrolls_in_its_box(browser, site):
    code = """() => [...document.querySelectorAll('.md-typeset__table')].filter(
      each => each.parentElement.scrollWidth > each.parentElement.clientWidth).length"""
    with opened(browser, site / 'speed.html', WIDTHS[0], within=site) as page:
        assert page.evaluate(code) > 0


def test_search_finds_a_page(browser, served):
    with opened(browser, served, within=served) as page:
        page.fill('input[name=query]', 'frozen stages')
        found = page.locator('.md-search-result__link')
        found.first.wait_for()
        assert any('frozen.html' in each.get_attribute('href') for each in found.all())
        found.first.click()
        page.wait_for_url('**/*.html*')
        assert page.complaints == []


def test_the_keyboard_reaches_the_navigation(browser, site):
    with opened(browser, site / 'index.html', within=site) as page:
        reached = []
        for _ in range(30):
            page.keyboard.press('Tab')
            reached.append(page.evaluate('document.activeElement.textContent.trim()'))
        assert reached[0] == 'Skip to content'
        assert {'Insert', 'Compare', 'Reference', 'Install'} <= set(reached)


def test_dark_is_chosen_by_the_system_and_by_hand(browser, site):
    scheme = 'document.body.getAttribute("data-md-color-scheme")'
    with opened(browser, site / 'index.html', dark=True, within=site) as page:
        assert page.evaluate(scheme) == 'slate'
        page.click('label[title="Light"]')
        page.wait_for_function(f'{scheme} === "default"')
