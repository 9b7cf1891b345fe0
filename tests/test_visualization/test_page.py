"""The HTML page is complete and needs no other file."""

import html
import json
import re

from mmattn.visualization import write_attention_page
from tests.test_visualization.helpers import (
    inspect,
    preprocessed,
)


def test_the_page_stands_alone_and_has_every_site(wide, tmp_path):
    one = inspect(preprocessed(), wide)
    other = inspect(preprocessed(at='backbone.layer4.1.residual', block='mmattn.SE'), wide[:, :40])
    path = tmp_path / 'page.html'
    write_attention_page([{'a': one, 'b & <c>': other}], path, 'a <b>', 'text')
    page = path.read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page) and 'url(' not in page and '@import' not in page
    assert 'http' not in re.sub(r'base64,[^"]*', '', page)
    names = json.loads(html.unescape(re.search(r'data-names="([^"]*)"', page)[1]))
    assert names == [site.name for site in one.sites]
    assert page.count('This detector has no such site') == 7 and 'b &amp; &lt;c&gt;' in page
    assert f'max="{len(names) - 1}"' in page
