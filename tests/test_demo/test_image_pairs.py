"""The sheet shows ground truth on the left and detections on the right, in place and undistorted."""

import json

import numpy as np
import pytest
from PIL import Image

from mmattn.demo.image_pairs import draw_pairs, write_sheet

SIZE = (80, 60)


@pytest.fixture
def files(tmp_path):
    images = []
    for number in range(1, 6):
        Image.new('RGB', SIZE, (40, 40, 40)).save(tmp_path / f'{number}.png')
        images.append(dict(id=number, file_name=f'{number}.png', width=SIZE[0], height=SIZE[1]))
    truth = dict(
        images=images,
        categories=[dict(id=3, name='thing'), dict(id=7, name='other')],
        annotations=[dict(id=1, image_id=1, category_id=3, iscrowd=0, area=800, bbox=[20, 30, 40, 20])],
    )
    found = [
        dict(image_id=1, category_id=7, score=0.9, bbox=[10, 25, 30, 30]),
        dict(image_id=1, category_id=7, score=0.1, bbox=[0, 0, 80, 60]),
    ]
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    (tmp_path / 'found.json').write_text(json.dumps(found))
    return tmp_path / 'truth.json', tmp_path, tmp_path / 'found.json'


def coloured(image):
    """Bounding box of the coloured pixels below the labels' first line."""
    saturation = np.asarray(image.convert('HSV'))[..., 1]
    rows, columns = np.nonzero(saturation > 120)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_boxes_are_where_they_belong(files):
    (name, pair), *rest = draw_pairs(*files, width=320)
    assert name == '1.png' and len(rest) == 4
    assert pair.height == 240 + 18  # the caption is 18 high; four times the size, not distorted
    left, right = pair.crop((0, 18, 320, 258)), pair.crop((328, 18, 648, 258))
    # at four times the size: 80, 120, 240, 200; the label is above the box
    x, y, x2, y2 = coloured(left)
    assert (x, x2, y2) == pytest.approx((80, 240, 200), abs=3) and y == pytest.approx(105, abs=3)
    x, y, x2, y2 = coloured(right)
    assert (x, x2, y2) == pytest.approx((40, 160, 220), abs=3) and y == pytest.approx(85, abs=3)


def test_unsure_detections_are_left_out(files):
    unsure = draw_pairs(*files, score_thr=0.05, width=320)[0][1].crop((328, 18, 648, 258))
    x, y, x2, y2 = coloured(unsure)
    assert (x, y, x2, y2) == pytest.approx((0, 0, 320, 240), abs=3)


def test_images_are_spread_over_the_set(files):
    assert [name for name, _ in draw_pairs(*files, limit=2)] == ['1.png', '3.png']
    assert len(draw_pairs(*files, limit=50)) == 5


def test_no_images_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no images to put on the sheet '.*sheet.png'"):
        write_sheet([], tmp_path / 'sheet.png')


def test_the_sheet(files, tmp_path):
    pairs = draw_pairs(*files, limit=3, width=160)
    write_sheet(pairs, tmp_path / 'sheet.png', columns=2)
    with Image.open(tmp_path / 'sheet.png') as sheet:
        pixels = np.asarray(sheet)
    width, height = pairs[0][1].size
    assert pixels.shape == (2 * (height + 24) + 24, 2 * (width + 24) + 24, 3)
    for index, (_, image) in enumerate(pairs):
        row, column = divmod(index, 2)
        top, left = 24 + row * (height + 24), 24 + column * (width + 24)
        assert (pixels[top : top + height, left : left + width] == np.asarray(image)).all()
