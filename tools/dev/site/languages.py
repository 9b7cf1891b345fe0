"""English and Chinese side by side: a page of docs/zh_cn belongs to the page of the same name in docs/."""

from __future__ import annotations

import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page
from outside import ROOT, origin_of

FOLDER = 'zh_cn/'
CHINESE = 'zh'
SECTION = '中文'


def nav(english: list) -> list[dict[str, list[str]]]:
    """Return the section of the Chinese pages, in the order of the English ones, if there are any."""
    pages = [FOLDER + path for path in _paths(english) if _is_there(FOLDER + path)]
    return [{SECTION: pages}] if pages else []


def choose(page: Page, config: MkDocsConfig) -> None:
    """Set the page's language, and where its switch leads: to its counterpart, or else to the home."""
    path = page.file.src_uri
    chinese = path.startswith(FOLDER)
    config.theme['language'] = CHINESE if chinese else 'en'
    config.extra['homepage'] = _address(f'{FOLDER}index.md' if chinese else 'index.md')
    if not _is_there(f'{FOLDER}index.md'):
        return
    english = path.removeprefix(FOLDER)
    counterpart = english if _is_there(FOLDER + english) else 'index.md'
    config.extra['alternate'] = [
        dict(name='English', lang='en', link=_address(english)),
        dict(name=SECTION, lang=CHINESE, link=_address(FOLDER + counterpart)),
    ]


def without_alternates(html: str) -> str:
    """Return a page without its links to other languages that only programs see.

    The theme takes each for the root of a site, and its script asks for a sitemap there.
    """
    return re.sub(r'<link rel="alternate"[^>]*>\s*', '', html)


def _is_there(path: str) -> bool:
    return (ROOT / origin_of(path)).is_file()


def _address(path: str) -> str:
    return path.removesuffix('.md') + '.html'


def _paths(entries) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    inner = entries.values() if isinstance(entries, dict) else entries
    return [path for each in inner for path in _paths(each)]
