"""What MkDocs calls while it builds the docs: pages from outside docs/, the reference, links, languages."""

from __future__ import annotations

from pathlib import Path

import languages
import outside
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page


def on_config(config: MkDocsConfig) -> None:
    nav = outside.present(config.nav)
    nav[-1]['Reference'] += reference.nav()
    config.nav = nav + languages.nav(nav)


def on_files(files: Files, config: MkDocsConfig) -> None:
    for path, text in reference.pages().items():
        files.append(outside.generated(config, path, text))
    outside.add_pages(files, config)


def on_page_markdown(markdown: str, page: Page, files: Files, **_) -> str:
    return outside.with_site_links(markdown, page.file.src_uri, files)


def on_page_context(context: dict, page: Page, config: MkDocsConfig, **_) -> None:
    languages.choose(page, config)


def on_post_page(output: str, **_) -> str:
    return languages.without_alternates(output)


def on_post_build(config: MkDocsConfig) -> None:
    """Write the index of the search as a script too: a page that is opened from a folder cannot fetch."""
    index = Path(config.site_dir, 'search/search_index.json')
    text = index.read_text(encoding='utf-8')
    index.with_suffix('.js').write_text(f'var __index = {text}', encoding='utf-8')
