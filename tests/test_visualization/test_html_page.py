"""The parts of HTML pages: what is text stays text, and a table knows its words from its numbers."""

import re

from matplotlib.figure import Figure

from mmattn.visualization.html_page import html_page, list_html, table_html, text_html
from mmattn.visualization.html_plot import plot_html, to_svg


def test_what_is_text_stays_text():
    page = html_page('a <b>', [list_html(['**x** < `y`'], 'c')], 'p{color:red}')
    assert '<title>a &lt;b&gt;</title>' in page and '<h1>a &lt;b&gt;</h1>' in page
    assert '<ul class="c"><li><strong>x</strong> &lt; <code>y</code></li></ul>' in page
    assert 'p{color:red}' in page and '<script>' not in page
    assert '<script>f()</script></body>' in html_page('a', [], script='f()').replace('\n', '')
    assert list_html([], 'c') == '' and text_html('2 * 3 ** 4') == '2 * 3 ** 4'


def test_words_and_numbers_of_a_table():
    table = table_html(
        ('name', 'AP', 'cost', 'verdict'), [('se', '+1.2', 'x1.03', 'better'), ('-', '-', '-', '-')], 't'
    )
    columns = re.findall(r'<th scope="col"( class="text")?>(\w+)</th>', table)
    assert [(bool(text), name) for text, name in columns] == [
        (True, 'name'),
        (False, 'AP'),
        (False, 'cost'),
        (True, 'verdict'),
    ]
    assert table.count('<td class="text">') == 4 and 'tabindex="0"' in table and 'aria-label="t"' in table


def plot(size):
    figure = Figure(figsize=size)
    figure.subplots().plot([1, 2], label='a')
    return to_svg(figure)


def test_a_plot_is_the_same_again_and_two_share_no_id():
    assert plot((4, 3)) == plot((4, 3))
    one, two = (plot_html(plot((4, 3)), 'a "b"', number) for number in (0, 1))
    ids = [set(re.findall(r'\bid="([^"]+)"', each)) for each in (one, two)]
    assert ids[0] and not ids[0] & ids[1]
    for each, own in zip((one, two), ids):
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', each)) <= own
    assert 'role="img" aria-label="a &quot;b&quot;"' in one


def test_a_wide_plot_is_scrolled_by_keyboard():
    assert 'class="plot wide"' in plot_html(plot((9, 3)), 'a', 0) and 'tabindex' in plot_html(
        plot((9, 3)), 'a', 0
    )
    assert 'class="plot"' in plot_html(plot((4, 3)), 'a', 0)
