"""Contact sheets of various blocks and names."""

import html

import pytest
from PIL import Image

from mmattn.visualization import contact_sheet, write_attention_page
from tests.test_visualization.helpers import (
    inspect,
    preprocessed,
)


@pytest.mark.parametrize(
    'block, options',
    [
        ('mmattn.SE', {}),
        ('mmattn.SpatialAttention', {}),
        ('mmattn.CoordAttention', {}),
        ('mmattn.SGE', {}),
        ('mmattn.BAM', {}),
        ('mmattn.Compose', dict(blocks=[dict(type='mmattn.ECA'), dict(type='mmattn.SimAM')])),
    ],
)
def test_sheet_and_page_of_other_blocks(block, options, wide, tmp_path):
    found = inspect(preprocessed(block, at='backbone.layer[34].0.residual', **options), wide)
    contact_sheet({'model': found}).savefig(tmp_path / 'sheet.png', dpi=30)
    write_attention_page([{'model': found}], tmp_path / 'page.html', 'title')
    with Image.open(tmp_path / 'sheet.png') as sheet:
        assert sheet.size[0] == 450
    assert all(html.escape(site.name) in (tmp_path / 'page.html').read_text() for site in found.sites)


def test_a_name_with_dollars(wide, tmp_path):
    """Which matplotlib takes for mathematics."""
    found = inspect(preprocessed(), wide)
    found.name, found.classes = 'a$_$b.jpg', ['$x_$'] * 80
    contact_sheet({'m$_$': found, 'n': found}, '$_$').savefig(tmp_path / 'sheet.png', dpi=20)
