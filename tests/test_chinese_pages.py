"""The Chinese pages are the English ones in Chinese: block by block the same code, numbers and links."""

import os
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.markdown_pages import anchors_of, tokens_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'tools/dev'))
import chinese  # noqa: E402

PAIRS = chinese.pairs()
CHINESE = dict(PAIRS)
NUMBER = re.compile(r'\d+(?:[.,]\d+)*')
COMMENT = re.compile(r'(?:^|[ \t]+)#.*$', re.MULTILINE)
SUMMARY = re.compile(r'(?<=<summary>)[^<]*')
pages = pytest.mark.parametrize('english, chinese_page', PAIRS, ids=[page.name for page, _ in PAIRS])


@dataclass
class Block:
    """A heading, paragraph, cell, list item, fence or comment of a page, with what both languages share.

    ``nested`` says which kinds of block it is in. ``emphasis`` counts: ``**`` beside a Chinese character is
    sometimes none.
    """

    nested: tuple
    line: int
    code: list = field(default_factory=list)
    numbers: Counter = field(default_factory=Counter)
    links: list = field(default_factory=list)
    emphasis: int = 0

    def what(self):
        return self.nested, self.code, self.numbers, self.links, self.emphasis


def blocks_of(page):
    """All blocks of a page but the line under the title that names the other language."""
    found, nested, line = [], [], 0
    for token in tokens_of(page):
        line = token.map[0] + 1 if token.map else line
        if token.nesting == 1:
            nested.append(token.tag)
        elif token.nesting == -1:
            nested.pop()
        elif token.type == 'inline':
            found.append(inline_block(token, (*nested,), line, page))
        else:  # a fence or a comment
            found.append(raw_block(token, (*nested,), line, page))
    return [found[0], *found[2:]]


def raw_block(token, nested, line, page):
    block = Block((*nested, token.type, token.info), line)
    if token.type == 'fence':
        block.numbers.update(NUMBER.findall(' '.join(COMMENT.findall(token.content))))
        block.code = [COMMENT.sub('', token.content)]
    else:  # what an image shows or a summary says is said in each language
        block.links = [target(link, page) for link in re.findall(r'\b(?:src|href)="([^"]+)"', token.content)]
        block.numbers.update(NUMBER.findall(''.join(SUMMARY.findall(token.content))))
        block.code = [SUMMARY.sub('', re.sub(r'\s*\b(?:src|href|alt|title)="[^"]*"', '', token.content))]
    return block


def inline_block(token, nested, line, page):
    block = Block(nested, line)
    for part in token.children:
        if part.type == 'code_inline':
            block.code.append(part.content)
        elif part.type == 'text':
            block.numbers.update(NUMBER.findall(part.content))
        elif part.type in ('link_open', 'image'):
            block.links.append(target(part.attrs.get('href') or part.attrs.get('src'), page))
        block.emphasis += part.type in ('strong_open', 'em_open')
    block.code.sort()
    block.links.sort(key=str)
    return block


def target(link, page):
    """Where a link leads: an address, or a file, in Chinese if it is there, and the number of its heading."""
    path, _, anchor = unquote(link).partition('#')
    if '://' in path:
        return link
    file = Path(os.path.normpath(page.parent / path)) if path else page
    assert file.exists(), f'{page.name}: {link} leads nowhere'
    if not anchor:
        return CHINESE.get(file, file), None
    anchors = anchors_of(file)
    assert anchor in anchors, f'{page.name}: {link}: the headings are {anchors}'
    return CHINESE.get(file, file), anchors.index(anchor)


def first_difference(english, other):
    """Return what differs first between two pages, in words; an empty text if nothing does."""
    for mine, theirs in zip(english, other):
        if mine.what() != theirs.what():
            return f'line {mine.line} has {mine.what()}\n its Chinese, line {theirs.line}: {theirs.what()}'
    return '' if len(english) == len(other) else f'{len(english)} blocks, {len(other)} in Chinese'


def test_what_a_user_needs_first_is_there_in_chinese():
    names = {page.name for page, _ in PAIRS}
    assert names >= {'README.md', 'install.md', 'any_detector.md', 'insertion.md', 'faq.md', 'train.md'}


@pages
def test_both_pages_have_the_same_blocks(english, chinese_page):
    if difference := first_difference(blocks_of(english), blocks_of(chinese_page)):
        pytest.fail(difference)


@pages
def test_each_links_the_other_under_its_title(english, chinese_page):
    there = os.path.relpath(chinese_page, english.parent)
    back = os.path.relpath(english, chinese_page.parent)
    lines = [page.read_text(encoding='utf-8').splitlines()[1:4] for page in (english, chinese_page)]
    assert f'English | [简体中文]({there})' in lines[0]
    assert f'[English]({back}) | 简体中文' in lines[1]


@pages
def test_generated_parts_are_those_of_the_english_page(english, chinese_page):
    made = chinese.with_generated_parts(english, chinese_page, chinese.read_words())
    assert made == chinese_page.read_text(encoding='utf-8'), 'run tools/dev/chinese.py --write'


def test_the_words_are_those_of_todays_english_pages():
    words = chinese.read_words()
    for english, chinese_page in PAIRS:
        chinese.with_generated_parts(english, chinese_page, words)
    assert not words.unused, f'no longer said in English: change it in {chinese.WORDS.name}'


def test_a_number_in_english_is_written_into_the_chinese_page(tmp_path, monkeypatch):
    monkeypatch.setattr(chinese, 'ROOT', tmp_path)
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'docs/speed.md').touch()
    part = '<!-- x -->\n| {} | [`a`](docs/speed.md) | {} |\n<!-- end -->\n'
    english, page = tmp_path / 'README.md', tmp_path / 'README_zh-CN.md'
    english.write_text('# One\n' + part.format('of its parts', '7'), encoding='utf-8')
    page.write_text('# 一\n' + part.format('?', '6'), encoding='utf-8')
    assert chinese.write(english) and not chinese.write(english)
    assert page.read_text(encoding='utf-8') == '# 一\n' + part.format('取决于各部分', '7')
    english.write_text('# One\n', encoding='utf-8')
    with pytest.raises(
        ValueError, match=r'README_zh-CN.md has the marks .*<!-- x -->.*, the English page \[\]'
    ):
        chinese.write(english)


@pages
def test_no_line_ends_within_a_chinese_sentence(english, chinese_page):
    """A browser shows the end of a line as a blank, which is seen between two Chinese characters."""
    texts = [token.content for token in tokens_of(chinese_page) if token.type == 'inline']
    assert not [
        found for text in texts for found in re.findall(r'.{,20}[\u4e00-\u9fff]\n[\u4e00-\u9fff].{,20}', text)
    ]


ENGLISH = """# A title
English | [x](page.md)

Two of 3 need `a` and **b**, see [that](#other).

- one

<img src="page.md" alt="one">

<details>
<summary>All 7</summary>

## Other
```python
x = 1  # by 2
```
| a | b |
|---|---|
| 1 | 2 |
"""


@pytest.mark.parametrize(
    'old, new',
    [
        ('of 3', 'of 4'),
        ('`a`', '`A`'),
        ('**b**', 'b'),
        ('#other', '#a-title'),
        ('- one\n', 'one\n'),
        ('page.md" alt', 'https://b" alt'),
        ('All 7', 'All 8'),
        ('<details>\n', ''),
        ('## Other', '### Other'),
        ('x = 1', 'x = 2'),
        ('by 2', 'by 3'),
        ('| 1 | 2 |', '| 2 | 1 |'),
        ('| 1 | 2 |\n', ''),
        ('```python', '```bash'),
        ('- one\n', '- one\n\nmore\n'),
    ],
)
def test_a_difference_is_found(tmp_path, old, new):
    def read(text):
        page = tmp_path / 'page.md'
        page.write_text(text, encoding='utf-8')
        return blocks_of(page)

    assert ENGLISH.count(old) == 1
    mine = read(ENGLISH)
    assert not first_difference(
        mine,
        read(
            ENGLISH.replace('# by 2', '# 2 by')
            .replace('Two of', 'of two')
            .replace('alt="one', 'alt="一')
            .replace('All', '全部')
        ),
    )
    assert first_difference(mine, read(ENGLISH.replace(old, new)))
