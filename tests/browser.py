"""A browser without a window, in which tests open the HTML pages that this project writes.

It is the system's Chromium, driven by Playwright; no browser is downloaded.
"""

import os
import shutil
from contextlib import contextmanager

import pytest

REQUIRED = 'MMATTN_REQUIRE_BROWSER'
"""Set it to 1 to let a test fail that finds no browser; otherwise it is skipped."""
WIDTHS = (390, 1400)
"""Widths of a window in pixels: that of a phone and that of a desk."""

_NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
_PATIENCE = 120_000  # milliseconds: a machine may be busy
_NO_WINDOW = ('--no-sandbox', '--disable-gpu')  # without a sandbox it runs as root too

# Contrast as WCAG 2.2 defines it, of each element that has a text of its own.
_LOW_CONTRAST = """() => {
  const canvas = document.createElement('div');
  document.body.append(canvas);
  const parse = text => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    return [...numbers.slice(0, 3), numbers.length > 3 ? numbers[3] : 1];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[3] * top[i] + (1 - top[3]) * below[i]).concat(1);
  canvas.style.backgroundColor = 'Canvas';
  const base = parse(getComputedStyle(canvas).backgroundColor);
  canvas.remove();
  const background = element => {
    if (!element) return base;
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, background(element.parentElement));
  };
  const luminance = colour => {
    const [r, g, b] = colour.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const low = [];
  for (const element of document.querySelectorAll('body, body *')) {
    const own = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE);
    const text = own.map(node => node.data.trim()).join(' ').trim();
    const style = getComputedStyle(element), size = parseFloat(style.fontSize);
    if (!text || !element.getClientRects().length || ['SCRIPT', 'STYLE'].includes(element.tagName)) continue;
    const below = background(element);
    const colour = over(parse(element instanceof SVGElement ? style.fill : style.color), below);
    const [light, dark] = [luminance(colour), luminance(below)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
    if (ratio < (large ? 3 : 4.5)) low.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(low)];
}"""
_BAD_IMAGES = """() => [...document.images]
  .filter(image => !image.alt.trim() || !image.complete || !image.naturalWidth)
  .map(image => `alt "${image.alt}", ${image.naturalWidth} pixels wide, ${image.src.slice(0, 40)}`)"""
_OVERFLOWING = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.body.querySelectorAll('*')].filter(each => each.getBoundingClientRect().right > innerWidth)
  .map(each => `${each.tagName} ${each.className}: ${Math.round(each.getBoundingClientRect().right)}`)"""


@contextmanager
def started_browser():
    """Start the browser; skip or fail the test if there is none."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = 'playwright is not installed (requirements/tests.txt)'
    else:
        missing = None if path else f'no browser: none of {", ".join(_NAMES)} is installed'
    if missing:
        if os.environ.get(REQUIRED, '0') not in ('', '0'):
            pytest.fail(f'{missing}, and {REQUIRED} is set')
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_NO_WINDOW, timeout=_PATIENCE)
        yield browser
        browser.close()


@contextmanager
def opened(browser, path, width=1400, dark=False, within=None):
    """Open an HTML file, or the address of a server here, in a window of its own, without a network.

    The page that is yielded has ``complaints``: what the console was told, and what was asked for beyond the
    file, or beyond ``within``: the folder, or the beginning of addresses, that it belongs to.
    """
    context = browser.new_context(
        viewport=dict(width=width, height=900),
        color_scheme='dark' if dark else 'light',
        offline=not isinstance(path, str),
    )
    context.set_default_timeout(_PATIENCE)
    page = context.new_page()
    page.complaints = []
    address = path if isinstance(path, str) else path.as_uri()
    allowed = within if isinstance(within, str) else (within or path).as_uri()
    page.on('console', lambda message: page.complaints.append(f'{message.type}: {message.text}'))
    page.on('pageerror', lambda error: page.complaints.append(f'error: {error}'))
    page.on('request', lambda request: request.url.startswith(('data:', allowed)) or page.complaints.append(
        f'request: {request.url}'
    ))  # fmt: skip
    page.goto(address)
    yield page
    context.close()


def faults(browser, path, within=None):
    """Return what is wrong with an HTML file: on a phone and on a desk, light and dark.

    It may scroll sideways in parts, and not as a whole. Each image has a text for who does not see it, and is
    there. Each text can be read. Files of the folder ``within`` belong to it.
    """
    found = []
    for width in WIDTHS:
        for dark in (False, True):
            with opened(browser, path, width, dark, within) as page:
                where = f'{width} px, {"dark" if dark else "light"}'
                wide, images, texts = (
                    page.evaluate(code) for code in (_OVERFLOWING, _BAD_IMAGES, _LOW_CONTRAST)
                )
                found += [f'{where}: too wide: {each}' for each in wide]
                found += [f'{where}: image: {each}' for each in images]
                found += [f'{where}: contrast: {each}' for each in texts]
                found += [f'{where}: {each}' for each in page.complaints]
                if not page.title() or not page.get_attribute('html', 'lang'):
                    found.append(f'{where}: no title or no language')
    return found
