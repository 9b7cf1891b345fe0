"""Sheets, arrays and a page of images, and what is said when they cannot be."""

import os

import cv2
import numpy as np
import pytest
import torch

from mmattn.visualization import Inspector, show_attention
from tests.squares import CLASSES, small, write_squares


@pytest.fixture
def inspectors(detectors):
    """A detector with attention, and one without."""
    return [
        Inspector(str(detectors / f'{name}.py'), str(detectors / f'{name}.pth'))
        for name in ('detector', 'stock')
    ]


@pytest.fixture
def image(tmp_path):
    """Path of an image in a folder of its own."""
    path = tmp_path / 'images/wide.png'
    path.parent.mkdir()
    cv2.imwrite(str(path), np.full((60, 140, 3), 90, np.uint8))
    return str(path)


def test_what_goes_wrong_is_said_in_a_line(inspectors, image, tmp_path):
    one, plain = inspectors
    with pytest.raises(ValueError, match='no gates in plain: it has no attention block of mmattn'):
        show_attention({'plain': plain}, [image], str(tmp_path / 'a'))
    assert not (tmp_path / 'a').exists()
    with pytest.raises(ValueError, match="'neck.x' matches no site that has a gate; nearest: backbone"):
        show_attention({'one': one}, [image], str(tmp_path / 'a'), ['neck.x'])
    written = show_attention(
        {'one': one, 'plain': plain}, [image], str(tmp_path / 'a'), ['backbone.layer4.**']
    )
    assert [os.path.basename(each) for each in written] == ['wide.png', 'wide.npz', 'index.html']
    with np.load(written[1]) as arrays:
        assert {name.split('/')[1] for name in arrays if name.startswith('one/backbone')} == {
            'backbone.layer4.0.residual',
            'backbone.layer4.1.residual',
        }
    with pytest.raises(FileExistsError, match='wide.png exists already: give another --out-dir'):
        show_attention({'one': one}, [image], str(tmp_path / 'a'))
    (tmp_path / 'bad.png').write_text('no image')
    (tmp_path / 'empty.png').touch()
    with pytest.raises(
        ValueError,
        match="bad.png' cannot be read as an image; '.*empty.png' cannot be "
        'read as an image. The other 1 of 3 are in',
    ):
        show_attention(
            {'one': one},
            [str(tmp_path / 'bad.png'), image, str(tmp_path / 'empty.png')],
            str(tmp_path / 'b'),
        )
    assert sorted(os.listdir(tmp_path / 'b')) == ['index.html', 'wide.npz', 'wide.png']
    with pytest.raises(FileExistsError, match='wide.png is one of the images, and its sheet would'):
        show_attention({'one': one}, [image], os.path.dirname(image), overwrite=True)
    assert cv2.imread(image).shape == (60, 140, 3)
    assert len(one.dataset_images('val')) == 8 and one.dataset_images('train')[0].endswith('train_0.png')


def test_images_of_an_odd_export_are_found(detectors, tmp_path):
    """As training finds them; MMDetection's own data set would stop at the byte-order mark."""
    root = write_squares(tmp_path / 'squares', train=1, val=2)
    file = root / 'annotations/val.json'
    text = file.read_text().replace('"val_', '"C:\\\\set\\\\val_')
    file.write_bytes(text.encode('utf-8-sig'))
    config, weights = (str(detectors / f'detector{suffix}') for suffix in ('.py', '.pth'))
    one = Inspector(config, weights, data_root=str(root))
    assert one.dataset_images('val') == [f'{root}/images/val_{i}.png' for i in range(2)]


def test_an_image_needs_no_data_set(detectors, in_project, tmp_path):
    """A config that reads its classes from the data has those of the checkpoint, unless a root is given."""
    options = small(model__backbone__base_channels=8, model__neck__in_channels=[8, 16, 32, 64])
    options = {key: value for key, value in options.items() if key.startswith('model.')}
    files = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py', str(detectors / 'detector.pth')
    inspector = Inspector(*files, cfg_options=options)
    assert inspector.model.bbox_head.num_classes == 2
    assert inspector.model.dataset_meta['classes'] == CLASSES
    with pytest.raises(FileNotFoundError, match="no annotation file 'no/annotations/train.json'"):
        Inspector(*files, data_root='no', cfg_options=options)
    torch.save(torch.load(files[1])['state_dict'], tmp_path / 'weights.pth')  # without its classes
    with pytest.raises(FileNotFoundError, match="no annotation file 'data/folder/annotations/train.json'"):
        Inspector(files[0], str(tmp_path / 'weights.pth'), cfg_options=options)
