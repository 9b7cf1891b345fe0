"""What was measured goes between the marks of a page, and nowhere else."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
from pages import with_text  # noqa: E402


def test_the_text_between_the_marks_is_replaced():
    page = 'a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\nkept\n<!-- end -->\n'
    assert with_text(page, '<!-- x -->', '<!-- end -->', 'new\nlines') == page.replace('old', 'new\nlines')


@pytest.mark.parametrize('page', ['no mark', '<!-- x -->\n', '<!-- end -->\n<!-- x -->\n'])
def test_a_page_without_its_marks_is_refused(page):
    with pytest.raises(ValueError, match='lacks the lines <!-- x --> and <!-- end -->'):
        with_text(page, '<!-- x -->', '<!-- end -->', 'new')
