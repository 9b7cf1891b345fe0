"""Links between pages are those of the code host in the repository, and those of the site in the site."""

import json

import outside
import pytest


class Site:
    """Stands in for MkDocs's files: all that is asked for is there, but what has ``missing`` in its name."""

    def get_file_from_path(self, path):
        return None if 'missing' in path else path


@pytest.mark.parametrize(
    'page, link, there',
    [
        ('index.md', '[a](docs/install.md)', '[a](install.md)'),
        ('index.md', '[a](docs/install.md#problems "title")', '[a](install.md#problems "title")'),
        ('index.md', '[a](CHANGELOG.md)', '[a](changelog.md)'),
        ('index.md', '[a](README_zh-CN.md)', '[a](zh_cn/index.md)'),
        ('index.md', '[a](LICENSE)', '[a](source/LICENSE.md)'),
        ('index.md', '[a](#try-it)', '[a](#try-it)'),
        ('index.md', '[a](https://example.org/docs/a.md)', '[a](https://example.org/docs/a.md)'),
        ('index.md', '[![b](docs/images/b.svg)](LICENSE)', '[![b](images/b.svg)](source/LICENSE.md)'),
        ('index.md', '[![b](https://example.org/b.svg)](LICENSE)', ''),
        ('index.md', '<img alt="a" src="docs/images/a.jpg">', '<img alt="a" src="images/a.jpg">'),
        ('index.md', '<a href="docs/faq.md">a</a>', '<a href="faq.md">a</a>'),
        ('index.md', '[a]: docs/faq.md', '[a]: faq.md'),
        ('index.md', '[a](docs/missing.md)', '[a](docs/missing.md)'),
        ('index.md', '`[a](docs/faq.md)` [b](docs/faq.md)', '`[a](docs/faq.md)` [b](faq.md)'),
        ('index.md', '```\n[a](docs/faq.md)\n```', '```\n[a](docs/faq.md)\n```'),
        ('index.md', '<!-- [a](docs/faq.md) -->', '<!-- [a](docs/faq.md) -->'),
        ('design.md', '[a](../mmattn/registry.py)', '[a](source/mmattn/registry.py.md)'),
        ('design.md', '[a](../README.md#try-it)', '[a](index.md#try-it)'),
        ('design.md', '[a](faq.md)', '[a](faq.md)'),
        ('zh_cn/install.md', '[a](../install.md)', '[a](../install.md)'),
        ('zh_cn/install.md', '[a](../../README.md)', '[a](../index.md)'),
        ('zh_cn/index.md', '[a](docs/zh_cn/install.md)', '[a](install.md)'),
        ('zh_cn/index.md', '[a](docs/blocks.md)', '[a](../blocks.md)'),
    ],
)
def test_a_link(page, link, there):
    assert outside.with_site_links(link, page, Site()) == there


def test_pages_that_are_not_there_leave_the_navigation(monkeypatch, tmp_path):
    monkeypatch.setattr(outside, 'ROOT', tmp_path)
    (tmp_path / 'README.md').touch()
    nav = [{'Start': ['index.md', 'tutorial.md', 'install.md']}, {'Extend': ['contributing.md', 'design.md']}]
    assert outside.present(nav) == [{'Start': ['index.md', 'install.md']}, {'Extend': ['design.md']}]


def test_a_notebook_is_a_page_of_its_texts_code_and_outputs(monkeypatch, tmp_path):
    monkeypatch.setattr(outside, 'ROOT', tmp_path)
    cells = [
        dict(cell_type='markdown', source=['# Title\n', 'text']),
        dict(cell_type='code', source='1 + 1', outputs=[dict(data={'text/plain': ['2']})]),
        dict(cell_type='code', source='print(3)', outputs=[dict(name='stdout', text=['3\n'])]),
        dict(
            cell_type='code', source='plot()', outputs=[dict(data={'image/png': 'AA\n', 'text/plain': 'x'})]
        ),
    ]
    (tmp_path / 'a.ipynb').write_text(json.dumps(dict(cells=cells)))
    assert outside._source_page('a.ipynb').split('\n\n') == [
        '# Title\ntext',
        '```python\n1 + 1\n```',
        '```text\n2\n```',
        '```python\nprint(3)\n```',
        '```text\n3\n```',
        '```python\nplot()\n```',
        '![Output of the cell above](data:image/png;base64,AA)',
    ]
