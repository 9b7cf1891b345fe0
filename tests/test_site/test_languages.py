"""A Chinese page has its language, its place in the navigation, and a switch to its English counterpart."""

from types import SimpleNamespace

import languages
import outside
import pytest


class Page:
    def __init__(self, path):
        self.file = self
        self.src_uri = path


@pytest.fixture
def config(tmp_path, monkeypatch):
    for name in ('README.md', 'docs/install.md', 'docs/faq.md'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for module in (outside, languages):
        monkeypatch.setattr(module, 'ROOT', tmp_path)
    return SimpleNamespace(theme={}, extra={})


def write_chinese(folder):
    (folder / 'README_zh-CN.md').touch()
    (folder / 'docs/zh_cn').mkdir()
    (folder / 'docs/zh_cn/install.md').touch()


NAV = [{'Start': ['index.md', 'install.md']}, {'Compare': ['faq.md']}]


def test_without_chinese_pages_nothing_is_offered(config):
    assert languages.nav(NAV) == []
    languages.choose(Page('install.md'), config)
    assert 'alternate' not in config.extra and config.theme['language'] == 'en'


def test_chinese_pages_follow_the_order_of_the_english_ones(config, tmp_path):
    write_chinese(tmp_path)
    assert languages.nav(NAV) == [{'中文': ['zh_cn/index.md', 'zh_cn/install.md']}]


@pytest.mark.parametrize(
    'path, language, english, chinese',
    [
        ('install.md', 'en', 'install.html', 'zh_cn/install.html'),
        ('zh_cn/install.md', 'zh', 'install.html', 'zh_cn/install.html'),
        ('faq.md', 'en', 'faq.html', 'zh_cn/index.html'),
        ('zh_cn/index.md', 'zh', 'index.html', 'zh_cn/index.html'),
    ],
)
def test_the_switch_leads_to_the_counterpart_or_home(path, language, english, chinese, config, tmp_path):
    write_chinese(tmp_path)
    languages.choose(Page(path), config)
    assert config.theme['language'] == language
    assert [each['link'] for each in config.extra['alternate']] == [english, chinese]


def test_links_that_only_programs_see_are_left_out():
    html = '<link rel="alternate" href="a.html" hreflang="en">\n<link rel="next" href="b.html">'
    assert languages.without_alternates(html) == '<link rel="next" href="b.html">'
