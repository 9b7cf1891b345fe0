"""What is wrong with a page is found in the browser, and a good page has no fault."""

import pytest

from tests import browser as module
from tests.browser import faults, opened, started_browser

PIXEL = 'data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7'
HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
)
GOOD = f'<title>good</title><p>text</p><img src="{PIXEL}" alt="a pixel">'


def write(tmp_path, body, head=HEAD):
    path = tmp_path / 'page.html'
    path.write_text(head + body)
    return path


def test_a_good_page_has_no_fault(browser, tmp_path):
    dark = '<style>:root{color-scheme:light dark}</style>'
    for body in (GOOD, f'{dark}{GOOD}', f'{GOOD}<div style="overflow:auto"><p style="width:2000px">a</div>'):
        assert faults(browser, write(tmp_path, body)) == []


@pytest.mark.parametrize(
    'body, fault',
    [
        ('<p style="width:900px">wide', '390 px, light: too wide: P'),
        (f'<img src="{PIXEL}">', 'image: alt ""'),
        ('<img src="data:image/gif;base64,AAAA" alt="broken">', 'image: alt "broken", 0 pixels wide'),
        ('<p style="color:#999">grey', 'light: contrast: grey: 2.85'),  # as WebAIM's checker has it
        ('<style>:root{color-scheme:light dark}</style><p style="color:#333">a', 'dark: contrast: a: '),
        ('<svg><text y="20" style="fill:#aaa">plot</text></svg>', 'contrast: plot: 2.32'),
        ('<script>throw new Error("oh")</script>', 'error: oh'),
        ('<script>console.error("oh")</script>', 'error: oh'),
        ('<link rel="stylesheet" href="https://example.org/a.css">', 'request: https://example.org/a.css'),
        ('<script src="other.js"></script>', 'other.js'),
    ],
)
def test_a_fault_is_found(body, fault, browser, tmp_path):
    found = faults(browser, write(tmp_path, GOOD + body))
    assert any(fault in each for each in found), found


def test_a_page_without_a_language_is_found(browser, tmp_path):
    found = faults(browser, write(tmp_path, GOOD, head='<!doctype html><meta charset="utf-8">'))
    assert '1400 px, light: no title or no language' in found


def test_dark_is_dark(browser, tmp_path):
    code = 'matchMedia("(prefers-color-scheme: dark)").matches && innerWidth'
    with opened(browser, write(tmp_path, GOOD), 390, dark=True) as page:
        assert page.evaluate(code) == 390


@pytest.mark.parametrize('required, outcome', [('0', pytest.skip.Exception), ('1', pytest.fail.Exception)])
def test_without_a_browser(required, outcome, monkeypatch):
    monkeypatch.setenv(module.REQUIRED, required)
    monkeypatch.setattr(module.shutil, 'which', lambda name: None)
    with pytest.raises(outcome, match='no browser: none of chromium|playwright is not installed'):
        with started_browser():
            pass
