"""The built site: it is whole, says what the code host shows, and its links lead somewhere."""

import importlib
import re
from urllib.parse import unquote, urlsplit

import outside
import pytest
import reference

from tests.markdown_pages import CODE_HOST, anchors_of
from tests.test_site.conftest import ROOT
from tests.test_site.html import Html

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob('README*.md'), ROOT / 'CHANGELOG.md', *ROOT.glob('docs/**/*.md'))
)


def html_of(site, page):
    return site / outside.site_path(page).replace('.md', '.html')


def as_on_the_code_host(page):
    """A page as CommonMark with tables has it, which is what the code host renders."""
    text = (ROOT / page).read_text(encoding='utf-8')
    return Html(CODE_HOST.render(text))


@pytest.mark.parametrize('page', PAGES)
def test_a_page_is_the_same_on_the_code_host_and_on_the_site(page, site):
    there, here = as_on_the_code_host(page), Html(html_of(site, page).read_text(encoding='utf-8'), 'article')
    assert here.text == there.text
    assert here.counts == there.counts


@pytest.mark.parametrize('page', PAGES)
def test_anchors_are_the_same_on_the_code_host_and_on_the_site(page, site):
    here = Html(html_of(site, page).read_text(encoding='utf-8'), 'article')
    assert here.headings == anchors_of(ROOT / page)


@pytest.mark.parametrize('page', PAGES)
def test_links_of_a_page_lead_to_an_anchor_on_the_code_host(page):
    for link in as_on_the_code_host(page).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        path = (ROOT / page).parent / unquote(parts.path) if parts.path else ROOT / page
        assert path.exists(), link
        if parts.fragment and path.suffix == '.md':
            assert unquote(parts.fragment) in anchors_of(path), link


def test_links_of_the_site_lead_somewhere(site):
    """Read from the files alone: each address is a file of the site, and has the anchor."""
    pages = {path: Html(path.read_text(encoding='utf-8')) for path in site.rglob('*.html')}
    assert len(pages) > 40
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == '404.html':
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f'{path.relative_to(site)}: {link}'
            if parts.fragment and target.suffix == '.html' and parts.fragment != '__skip':
                assert unquote(parts.fragment) in pages[target].ids, f'{path.relative_to(site)}: {link}'


def test_no_page_asks_for_a_diagram_that_comes_from_elsewhere():
    """The site would fetch what draws them; the code host has its own."""
    for page in PAGES:
        assert '```mermaid' not in (ROOT / page).read_text(encoding='utf-8'), page


def test_every_public_name_is_in_the_reference(site):
    packages = reference.public_names()
    assert {'mmattn', 'mmattn.blocks', 'mmattn.insertion', 'mmattn.study.statistics'} <= set(packages)
    for package, names in packages.items():
        public = [name for name in importlib.import_module(package).__all__ if not name.startswith('__')]
        assert sorted(names) == sorted(public)
        page = Html((site / f'reference/{package}.html').read_text(encoding='utf-8'))
        assert {f'{package}.{name}' for name in public} <= set(page.ids)


def test_every_public_name_says_what_it_is(site):
    """A heading is followed by more than its signature."""
    for package in reference.public_names():
        text = (site / f'reference/{package}.html').read_text(encoding='utf-8')
        entries = re.split(rf'<h2 id="{re.escape(package)}\.', text)[1:]
        bare = [entry.partition('"')[0] for entry in entries if '<p>' not in entry]
        assert not bare, package


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path):
    """Strictness is that of the settings: no option of the command can be left out unnoticed."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor('', lambda loader, suffix, node: None)
    settings = yaml.load((ROOT / 'mkdocs.yml').read_text(), Loader)
    for part in settings['validation'].values():
        assert set(part.values()) == {'warn'}
    assert '-m mkdocs build --strict' in (ROOT / 'Makefile').read_text()
