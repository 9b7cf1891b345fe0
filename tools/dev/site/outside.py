"""Pages of the site that are not in docs/: the README as its home, and every file that a page links."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[3]
NAMED = {
    'README.md': 'index.md',
    'README_zh-CN.md': 'zh_cn/index.md',
    'CHANGELOG.md': 'changelog.md',
    'CONTRIBUTING.md': 'contributing.md',
    'demo/mmattn_tutorial.ipynb': 'tutorial.md',
}
"""Pages outside docs/ and where they are in the site; other files that are linked are in source/."""

# Markdown's [text](target "title") and [name]: target, HTML's href, src and srcset.
_LINK = re.compile(r'(\]\(|^ {0,3}\[[^\]]+\]:\s+|\b(?:href|src|srcset)=")([^\s)#"]+)', re.MULTILINE)
# Code, fenced or in a line, and comments: what is in them is no link.
_NO_LINKS = re.compile(
    r'(^ *(`{3,}|~{3,}).*?^ *\2 *$|(`+)(?!`).+?(?<!`)\3(?!`)|<!--.*?-->)', re.MULTILINE | re.DOTALL
)

# Images that a page would fetch from elsewhere: badges, mostly with a link.
_REMOTE_IMAGE = re.compile(r'\[!\[[^\]]*\]\(https?:[^)]*\)\]\([^)]*\)|!\[[^\]]*\]\(https?:[^)]*\)')


def origin_of(path: str) -> str:
    """Return the file of the repository that a page of the site is made from."""
    return next((origin for origin, there in NAMED.items() if there == path), f'docs/{path}')


def present(nav: list) -> list:
    """Return the navigation without pages whose file outside docs/ is not there."""
    return [kept for entry in nav if (kept := _present(entry))]


def _present(entry):
    if isinstance(entry, dict):
        return {title: present(inner) if isinstance(inner, list) else inner for title, inner in entry.items()}
    origin = origin_of(entry)
    return entry if origin not in NAMED or (ROOT / origin).is_file() else None


def generated(config: MkDocsConfig, path: str, text: str) -> File:
    level = InclusionLevel.NOT_IN_NAV if path.startswith('source/') else InclusionLevel.UNDEFINED
    return File.generated(config, path, content=text, inclusion=level)


def add_pages(files: Files, config: MkDocsConfig) -> None:
    """Add the pages outside docs/, and all that they and the pages in docs/ link."""
    for origin in NAMED:
        if (ROOT / origin).is_file():
            files.append(generated(config, NAMED[origin], _source_page(origin)))
    pages = [(origin_of(file.src_uri), file.content_string) for file in files.documentation_pages()]
    linked = {target for origin, text in pages for target in _targets(text, origin)}
    for target in sorted(linked):
        path = site_path(target)
        if files.get_file_from_path(path) is None and (ROOT / target).is_file():
            files.append(generated(config, path, _source_page(target)))


def site_path(target: str) -> str:
    """Return where a file of the repository is in the site."""
    if target in NAMED:
        return NAMED[target]
    return target[len('docs/') :] if target.startswith('docs/') else f'source/{target}.md'


def with_site_links(text: str, path: str, files: Files) -> str:
    """Return a page with links as they are in the site, instead of those on the code host.

    What leads nowhere stays as it is, and MkDocs warns of it. Images from elsewhere are left out.
    """
    origin, here = origin_of(path), str(PurePosixPath(path).parent)

    def replaced(target: str) -> str:
        found = _resolved(target, origin)
        there = found and site_path(found)
        if not there or files.get_file_from_path(there) is None:
            return target
        return os.path.relpath(there, here)

    return _replace_links(_REMOTE_IMAGE.sub('', text), replaced)


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding='utf-8')


def _resolved(target: str, origin: str) -> str | None:
    """Return the file of the repository that a link of the file ``origin`` means; ``None`` for an address."""
    if re.match(r'\w+:|/|$', target):
        return None
    return os.path.normpath(PurePosixPath(origin).parent / target)


def _targets(text: str, origin: str) -> Iterator[str]:
    found: list[str] = []
    _replace_links(text, lambda target: found.append(target) or target)
    return filter(None, (_resolved(target, origin) for target in found))


def _replace_links(text: str, replaced: Callable[[str], str]) -> str:
    parts, end = [], 0
    for skipped in _NO_LINKS.finditer(text):
        parts += [(text[end : skipped.start()], True), (skipped.group(), False)]
        end = skipped.end()
    parts.append((text[end:], True))
    return ''.join(
        _LINK.sub(lambda link: link.group(1) + replaced(link.group(2)), part) if linked else part
        for part, linked in parts
    )


def _source_page(path: str) -> str:
    return _PAGE_OF.get(Path(path).suffix, _code_page)(path)


def _code_page(path: str) -> str:
    head = '---\nsearch:\n  exclude: true\n---\n'
    fence = '`' * 4
    return f'{head}# {path}\n{fence}{Path(path).suffix[1:]}\n{_text(path)}\n{fence}\n'


def _notebook_page(path: str) -> str:
    """Return a notebook as Markdown: its texts, its code, and what that printed or drew."""
    parts = []
    for cell in json.loads(_text(path))['cells']:
        text = ''.join(cell['source'])
        parts.append(text if cell['cell_type'] == 'markdown' else f'```python\n{text}\n```')
        for output in cell.get('outputs', ()):
            data = output.get('data', {})
            printed = ''.join(output.get('text', data.get('text/plain', '')))
            images = [mime for mime in data if mime in ('image/png', 'image/jpeg')]
            if images:
                encoded = ''.join(data[images[0]]).replace('\n', '')
                parts.append(f'![Output of the cell above](data:{images[0]};base64,{encoded})')
            elif printed:
                parts.append(f'```text\n{printed.rstrip()}\n```')
    return '\n\n'.join(parts)


_PAGE_OF = {'.ipynb': _notebook_page, '.md': _text}
