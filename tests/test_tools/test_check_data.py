"""tools/check_data.py: tables, a sheet of images with boxes, and what training refuses."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from mmattn.visualization.show_data import show_data

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'


@pytest.fixture
def data(squares, tmp_path, in_project):
    """Easy data of one's own, to be changed."""
    shutil.copytree(squares, tmp_path / 'data')
    return tmp_path / 'data'


def opened(path):
    with Image.open(path) as image:
        return image.format, image.size, np.asarray(image.convert('RGB'))


def edit(data, change, part='train'):
    file = data / 'annotations' / f'{part}.json'
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_it_says_what_the_data_holds(squares, tmp_path, in_project, run_tool):
    sheet = tmp_path / 'sub/sheet.png'
    done = run_tool('check_data.py', CONFIG, '--data-root', squares, '--out', sheet, '--limit', 4)
    assert done.code == 0
    lines = [[cell.strip() for cell in line.split('│')[1:-1]] for line in done.out.splitlines()]
    rows = {cells[0]: cells[1:] for cells in lines if cells}
    content = json.loads((squares / 'annotations/train.json').read_text())
    small_ones = sum(annotation['area'] < 32 * 32 for annotation in content['annotations'])
    expected = ['16', '0', '32', str(small_ones), str(32 - small_ones), '0', '0', '96x96']
    assert rows['train_dataloader.dataset'] == expected
    assert rows['val_dataloader.dataset'][:3] == ['8', '0', '16']
    assert 'test_dataloader.dataset' not in rows  # val again
    assert rows['bright'] == rows['dark'] == ['16', '8']
    assert f'images with their boxes: {sheet}' in done.out
    assert opened(sheet)[1] == (1280, 2 * 338)


def test_training_would_be_refused(data, tmp_path, run_tool):
    def corners(content):
        for annotation in content['annotations']:
            x, y, width, height = annotation['bbox']
            annotation['bbox'] = [x, y, x + width, y + height]

    edit(data, corners)
    done = run_tool('check_data.py', CONFIG, '--data-root', data, '--out', tmp_path / 'sheet.jpg')
    assert done.code == 2
    assert 'the numbers look like two corners' in done.err and 'Traceback' not in done.err
    assert 'val_dataloader.dataset' in done.out  # the tables are there too
    assert opened(tmp_path / 'sheet.jpg')[0] == 'JPEG'


def test_boxes_are_drawn_where_a_detector_sees_them(data, tmp_path):
    """An image that EXIF turns by 180 degrees comes first, turned."""
    file = data / 'images/train_9.png'
    pixels = np.zeros((60, 120, 3), 'uint8')
    pixels[40:60, 90:120] = 255  # right below
    Image.fromarray(pixels).save(data / 'images/train_9.jpg', exif=_orientation(3))
    file.unlink()

    def change(content):
        image = content['images'][9]
        image.update(file_name='train_9.jpg', width=120, height=60)
        content['annotations'] = [a for a in content['annotations'] if a['image_id'] != image['id']]
        content['annotations'].append(
            dict(id=99, image_id=image['id'], category_id=1, bbox=[0, 0, 30, 20], area=600, iscrowd=0)
        )

    edit(data, change)
    items, refused = show_data(CONFIG, str(data), out=str(tmp_path / 'sheet.png'), limit=4)
    assert not refused
    assert any(
        'an EXIF orientation that their size does not show' in item for item in items if isinstance(item, str)
    )
    tile = opened(tmp_path / 'sheet.png')[2][:320, :320].astype(int)
    assert (tile[25:45, 40:70] > 200).all()  # the white part is left above, in 320/120 of its size
    red = np.abs(tile - (0xE6, 0x19, 0x4B)).sum(2) < 30
    assert red[:60, 78:80].any() and red[51:53, :80].any()  # so is the box around it


def _orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def test_a_sheet_of_what_cannot_be_drawn(data, tmp_path):
    (data / 'images/train_3.png').write_bytes(b'nothing to see')
    edit(data, lambda content: content['annotations'][0].update(bbox=[1, 2, 3]))
    items, refused = show_data(CONFIG, str(data), out=str(tmp_path / 'sheet.png'), limit=16)
    assert 'id 1 has [1, 2, 3]' in refused
    assert opened(tmp_path / 'sheet.png')[1] == (1280, 6 * 338)
    assert '?' in [cell for column in items[-3].columns for cell in column.cells]


def test_a_sheet_is_whole_or_absent(data, tmp_path, monkeypatch):
    (tmp_path / 'sheet.jpg').write_bytes(b'before')

    def fail(*args):
        raise OSError('no space left on device')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(OSError, match='no space left'):
        show_data(CONFIG, str(data), out=str(tmp_path / 'sheet.jpg'))
    assert (tmp_path / 'sheet.jpg').read_bytes() == b'before'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['data', 'sheet.jpg']


def test_other_formats_are_not_checked(tmp_path, in_project):
    config = tmp_path / 'voc.py'
    config.write_text("train_dataloader = dict(dataset=dict(type='VOCDataset', data_root='/no/'))\n")
    items, refused = show_data(str(config), out=str(tmp_path / 'sheet.jpg'))
    assert items == [f'{config} has no data set in COCO format on a local disk: nothing was checked']
    assert not refused and not (tmp_path / 'sheet.jpg').exists()


def test_the_users_folder_stays_as_it_is(data, tmp_path):
    edit(data, lambda content: content['categories'].reverse(), 'val')
    before = {path: path.read_bytes() for path in data.rglob('*') if path.is_file()}
    items, refused = show_data(CONFIG, str(data), out=str(tmp_path / 'sheet.jpg'))
    assert not refused and any('(read right)' in item for item in items if isinstance(item, str))
    assert {path: path.read_bytes() for path in data.rglob('*') if path.is_file()} == before
