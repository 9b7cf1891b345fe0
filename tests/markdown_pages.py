"""Pages of Markdown as the code host reads them: CommonMark with tables, and its anchors of headings."""

import re
from collections import Counter

from markdown_it import MarkdownIt

CODE_HOST = MarkdownIt('commonmark').enable('table')


def tokens_of(page):
    """What a page's file consists of."""
    return CODE_HOST.parse(page.read_text(encoding='utf-8'))


def anchors_of(page):
    """The anchors of headings: lower case, hyphens for blanks, no punctuation, -1 at a second one."""
    tokens = tokens_of(page)
    seen, anchors = Counter(), []
    for opening, inline in zip(tokens, tokens[1:]):
        if opening.type == 'heading_open':
            words = ''.join(each.content for each in inline.children if each.type in ('text', 'code_inline'))
            anchor = re.sub(r'[^\w\- ]', '', words.strip().lower()).replace(' ', '-')
            anchors.append(f'{anchor}-{seen[anchor]}' if seen[anchor] else anchor)
            seen[anchor] += 1
    return anchors
