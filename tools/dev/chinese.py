#!/usr/bin/env python
"""Write the generated parts of the Chinese pages: those of the English ones, in the words of chinese.json.

A Chinese page is written by hand, beside the English one: README_zh-CN.md, and docs/zh_cn/ for docs/.
What scripts write into the English page, between `<!-- ... -->` marks, is taken from there, so that no
number can differ.

python tools/dev/chinese.py            say which pages are out of date, and what is still in English
python tools/dev/chinese.py --write    write them
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORDS = Path(__file__).with_suffix('.json')
"""What English texts are in Chinese. ``{}`` stands for a number or a link, ``{...}`` for anything."""

_PART = re.compile(r'^<!-- (?!end\b)[^\n]* -->\n(.*?)(?=^<!-- end\b)', re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r'^```.*?^```$', re.DOTALL | re.MULTILINE)
_LINK = re.compile(r'(?<=\]\()[^)#\s]+')


def pairs() -> list[tuple[Path, Path]]:
    """Return every Chinese page after its English one."""
    docs = [(ROOT / 'docs' / page.name, page) for page in sorted((ROOT / 'docs/zh_cn').glob('*.md'))]
    return [(ROOT / 'README.md', ROOT / 'README_zh-CN.md'), *docs]


def counterpart(page: Path) -> Path:
    """Return the Chinese page of an English one if there is one, else the page itself."""
    return dict(pairs()).get(page, page)


class Words:
    """English texts in Chinese; those without are left as they are.

    Attributes:
        unused: English texts of the file that were not met yet.
        missing: Texts that were met and are not in the file.
    """

    def __init__(self, texts: dict[str, str]):
        self.unused = set(texts)
        self.missing: list[str] = []
        self._texts = [(self._pattern(english), english, chinese) for english, chinese in texts.items()]

    @staticmethod
    def _pattern(english: str) -> re.Pattern:
        return re.compile(re.escape(english).replace(r'\{\}', r'(\S+?)').replace(r'\{\.\.\.\}', '(.+?)'))

    def chinese(self, text: str) -> str:
        for pattern, english, chinese in self._texts:
            if found := pattern.fullmatch(text):
                self.unused.discard(english)
                return chinese.format(*found.groups())
        if re.search(r'[a-z]{2}', re.sub(r'`[^`]*`|\[[^]]*\]\(https:[^)]*\)', '', text)):
            self.missing.append(text)
        return text


def read_words() -> Words:
    return Words(json.loads(WORDS.read_text(encoding='utf-8')))


def with_generated_parts(english: Path, chinese: Path, words: Words) -> str:
    """Return the text of a Chinese page with the generated parts of the English one.

    Raises:
        ValueError: If the two pages have different marks.
    """
    text, source = (path.read_text(encoding='utf-8') for path in (chinese, english))
    marks = [[part.group().partition('\n')[0] for part in _PART.finditer(page)] for page in (source, text)]
    if marks[0] != marks[1]:
        raise ValueError(f'{chinese.relative_to(ROOT)} has the marks {marks[1]}, the English page {marks[0]}')
    parts = iter([_translated(part[1], words) for part in _PART.finditer(source)])

    def filled(part: re.Match) -> str:
        return part.group().partition('\n')[0] + '\n' + _with_links(next(parts), english, chinese)

    return _PART.sub(filled, text)


def _translated(part: str, words: Words) -> str:
    """Return a part in Chinese: cell by cell, paragraph by paragraph; code stays as it is."""
    kept, end = [], 0
    for fence in _FENCE.finditer(part):
        kept += [*_paragraphs(part[end : fence.start()], words), fence.group()]
        end = fence.end()
    return '\n'.join([*kept, *_paragraphs(part[end:], words), ''])


def _paragraphs(text: str, words: Words) -> Iterator[str]:
    paragraph: list[str] = []
    for line in text.strip('\n').split('\n'):
        if paragraph and (not line or line.startswith('|')):
            yield from _lines(words.chinese(' '.join(paragraph)))
            paragraph = []
        if line.startswith('|'):
            cells = [part if part in '| | ' else words.chinese(part) for part in re.split(r'( ?\| ?)', line)]
            yield line if line.startswith('|--') else ''.join(cells)
        elif line:
            paragraph.append(line)
        elif text.strip():
            yield line
    if paragraph:
        yield from _lines(words.chinese(' '.join(paragraph)))


def _lines(paragraph: str) -> Iterator[str]:
    for line in paragraph.split('\n'):
        yield from textwrap.wrap(line, 108, break_long_words=False, break_on_hyphens=False)


def _with_links(text: str, english: Path, chinese: Path) -> str:
    """Return a text of the English page with links as the Chinese page needs them."""

    def moved(link: re.Match) -> str:
        target = Path(os.path.normpath(english.parent / link.group()))
        if '://' in link.group() or not target.exists():
            return link.group()
        return os.path.relpath(counterpart(target), chinese.parent)

    return _LINK.sub(moved, text)


def write(page: Path) -> bool:
    """Write the generated parts of an English page into its Chinese one; return whether that changed."""
    chinese = counterpart(page)
    if chinese == page:
        return False
    text = with_generated_parts(page, chinese, read_words())
    changed = text != chinese.read_text(encoding='utf-8')
    if changed:
        chinese.write_text(text, encoding='utf-8')
    return changed


def complaints() -> list[str]:
    """Return what is out of date, and what is said no longer in English or not yet in Chinese."""
    words, found = read_words(), []
    for english, chinese in pairs():
        if with_generated_parts(english, chinese, words) != chinese.read_text(encoding='utf-8'):
            found.append(f'out of date: {chinese.relative_to(ROOT)}')
    found += [f'said no longer in English: {text}' for text in sorted(words.unused)]
    return found + [f'still in English: {text}' for text in dict.fromkeys(words.missing)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--write', action='store_true', help='write the pages')
    if parser.parse_args().write:
        for english, chinese in pairs():
            if write(english):
                print(f'written: {chinese.relative_to(ROOT)}')
    found = complaints()
    print('\n'.join(found), end='\n' if found else '')
    return int(any(not each.startswith('still') for each in found))


if __name__ == '__main__':
    sys.exit(main())
