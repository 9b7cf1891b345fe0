"""An image that cannot be read is named, whatever is wrong with it."""

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from PIL import Image

from mmattn.datasets import LoadImageFromFile
from mmattn.datasets.loading import is_cut_off


@pytest.fixture
def image(tmp_path):
    file = tmp_path / 'cells.jpg'
    noise = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    cv2.imwrite(str(file), noise)
    return file


@pytest.mark.parametrize('to_float32', [False, True])
def test_equals_mmcv(image, to_float32):
    ours = LoadImageFromFile(to_float32)(dict(img_path=str(image)))
    theirs = mmcv.transforms.LoadImageFromFile(to_float32)(dict(img_path=str(image)))
    assert ours.keys() == theirs.keys()
    assert ours['img'].dtype == theirs['img'].dtype
    assert np.array_equal(ours['img'], theirs['img'])
    assert ours['img_shape'] == theirs['img_shape'] == ours['ori_shape'] == (64, 48)


@pytest.mark.parametrize(
    'damage, says',
    [
        (lambda data: b'', r"corrupt image '.*cells.jpg' \(0 bytes\)"),
        (lambda data: b'no picture at all', r"corrupt image '.*cells.jpg' \(17 bytes\): cv2 cannot"),
        # OpenCV refuses it or fills it up with grey, depending on its version
        (
            lambda data: data[: len(data) // 2],
            r"corrupt image '.*cells.jpg' .*(the JPEG has no end|cv2 cannot decode it)",
        ),
    ],
)
def test_damage_is_named(image, damage, says):
    image.write_bytes(damage(image.read_bytes()))
    with pytest.raises(OSError, match=says):
        LoadImageFromFile()(dict(img_path=str(image)))


@pytest.mark.filterwarnings('ignore:"file_client_args" will be deprecated:DeprecationWarning')
@pytest.mark.parametrize('options', [dict(ignore_empty=True), dict(file_client_args={})])
def test_options_it_has_not_are_refused(options):
    with pytest.raises(
        ValueError,
        match=f'{next(iter(options))}.* mmattn.LoadImageFromFile|'
        f'mmattn.LoadImageFromFile has no {next(iter(options))}',
    ):
        LoadImageFromFile(**options)


@pytest.mark.parametrize('orientation', [1, 6])
def test_another_size_than_the_annotation_says_is_named(image, orientation):
    load = LoadImageFromFile()
    load(dict(img_path=str(image), height=64, width=48))
    if orientation != 1:
        turned = Image.open(image)
        exif = turned.getexif()
        exif[0x0112] = orientation
        turned.save(image, exif=exif)
        says = r'is 64x48 when loaded, but its annotation says 48x64 .*; its EXIF orientation is 6. Its boxes'
    else:
        cv2.imwrite(str(image), np.zeros((20, 30, 3), 'uint8'))
        says = r'is 30x20 when loaded, but its annotation says 48x64 \(width x height\). Its boxes'
    with pytest.raises(OSError, match=f"image '.*cells.jpg' {says}"):
        load(dict(img_path=str(image), height=64, width=48))
    load(dict(img_path=str(image)))  # nothing to compare with
    LoadImageFromFile(color_type='color_ignore_orientation')(
        dict(img_path=str(image), height=20 if orientation == 1 else 64, width=30 if orientation == 1 else 48)
    )


def test_missing_is_named():
    with pytest.raises(OSError, match="cannot read image '/no/cells.jpg'"):
        LoadImageFromFile()(dict(img_path='/no/cells.jpg'))


def test_an_embedded_preview_does_not_count_as_end(image):
    data = image.read_bytes()
    preview = b'\xff\xe1' + (2 + len(data)).to_bytes(2, 'big') + data  # as EXIF holds it
    whole = data[:2] + preview + data[2:]
    assert not is_cut_off(whole)
    assert is_cut_off(whole[:-2])
    assert not is_cut_off(b'\x89PNG')


@pytest.mark.parametrize('workers', [0, 1])
def test_named_across_worker_processes(image, workers):
    image.write_bytes(b'')

    class OnePicture(BaseDataset):
        def load_data_list(self):
            return [dict(img_path=str(image))]

    data = OnePicture(pipeline=[dict(type='mmattn.LoadImageFromFile')])
    with pytest.raises(OSError, match=r"corrupt image '.*cells.jpg'"):
        next(iter(torch.utils.data.DataLoader(data, num_workers=workers)))
