"""tools/show_attention.py on a folder of images."""

import os

import cv2
import numpy as np


def test_the_tool_on_a_folder_against_another_detector(in_files, tmp_path, run_tool):
    images, out = tmp_path / 'images', tmp_path / 'out'
    images.mkdir()
    for name, size in (('wide', (60, 140)), ('tall', (140, 60))):
        cv2.imwrite(str(images / f'{name}.png'), np.full((*size, 3), 90, np.uint8))
    other = ['--compare', 'other.py', 'other.pth']
    done = run_tool('show_attention.py', 'detector.py', 'detector.pth', images, *other, '--out-dir', out)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f'2 of 2 image(s): sheets, arrays, and {out}/index.html'
    assert sorted(os.listdir(out)) == ['index.html', 'tall.npz', 'tall.png', 'wide.npz', 'wide.png']
    with np.load(out / 'tall.npz') as arrays:
        assert {name.split('/')[0] for name in arrays} == {'detector', 'other'}
        assert arrays['detector/backbone.layer1.0.residual/spatial'].shape[:2] == (1, 1)
        assert arrays['other/backbone.layer4.1.residual/channel'].shape == (1, 64, 1, 1)
        image = arrays['detector/picture']
        assert image.shape == (640, round(640 * 60 / 140), 3) and (image == 90).all()
        assert 'other/backbone.layer1.0.residual/spatial' not in arrays
    page = (out / 'index.html').read_text()
    assert '<h3>detector</h3>' in page and '<h3>other</h3>' in page and 'tall.png' in page
