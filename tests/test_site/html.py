"""What a page of the site, or of the code host, says and links, from its HTML."""

from collections import Counter
from html.parser import HTMLParser

EMPTY = {'img', 'br', 'hr', 'input', 'meta', 'link', 'source', 'wbr', 'path'}
COUNTED = ('h1', 'h2', 'h3', 'h4', 'table', 'tr', 'th', 'td', 'li', 'pre', 'img', 'details', 'strong', 'em')


class Html(HTMLParser):
    """Texts, anchors, links and elements of a page; with ``within``, only of the element of that name."""

    def __init__(self, text: str, within: str = ''):
        super().__init__()
        self.within = within
        self.open = []
        self.texts = []
        self.ids = []
        self.headings = []
        self.links = []
        self.counts = Counter()
        self.feed(text)

    @property
    def text(self) -> str:
        """All that can be read, without blanks."""
        return ''.join(''.join(self.texts).split())

    def is_read(self) -> bool:
        classes = {each for _, classes in self.open for each in classes}
        tags = {tag for tag, _ in self.open}
        inside = not self.within or self.within in tags
        return inside and not classes & {'headerlink'} and not tags & {'script', 'style', 'button', 'svg'}

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in EMPTY:
            self.open.append((tag, (attrs.get('class') or '').split()))
        self.ids += [attrs[key] for key in ('id', 'name') if attrs.get(key) and (key == 'id' or tag == 'a')]
        self.links += [attrs[key] for key in ('href', 'src') if attrs.get(key)]
        if self.is_read():
            self.counts[tag] += tag in COUNTED and not attrs.get('src', '').startswith('http')
            if tag in ('h1', 'h2', 'h3', 'h4', 'h5', 'h6'):
                self.headings.append(attrs.get('id'))

    def handle_endtag(self, tag):
        while tag in [each for each, _ in self.open] and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self.is_read():
            self.texts.append(data)
