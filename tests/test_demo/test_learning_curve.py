"""The learning curve draws what MMEngine's log says."""

import json

import pytest
from PIL import Image

from mmattn.demo.learning_curve import learning_curve, read_scalars, write_learning_curve

LOG = [
    {'loss': 2.0, 'loss_cls': 1.0, 'lr': 0.1, 'step': 25},
    {'coco/bbox_mAP': 0.1, 'coco/bbox_mAP_50': 0.3, 'step': 25},
    {'loss': 1.0, 'loss_cls': 0.5, 'lr': 0.1, 'step': 50},
    {'coco/bbox_mAP': 0.4, 'coco/bbox_mAP_50': 0.7, 'step': 50},
]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_text('\n'.join(map(json.dumps, LOG)) + '\n')
    return path


def test_curves_are_read(log):
    curves = read_scalars(log)
    assert curves['loss'] == [(25, 2.0), (50, 1.0)]
    assert curves['coco/bbox_mAP_50'] == [(25, 0.3), (50, 0.7)]


def test_drawing_shows_the_curves(log, tmp_path):
    write_learning_curve(read_scalars(log), tmp_path / 'with.png', 'a title')
    log.write_text('\n'.join(json.dumps(line) for line in LOG if 'loss' in line))
    write_learning_curve(read_scalars(log), tmp_path / 'without.png', 'a title')
    with Image.open(tmp_path / 'with.png') as one, Image.open(tmp_path / 'without.png') as two:
        assert one.size == two.size and one.width > 1000

        def coloured(image, half):
            width, height = image.size
            part = image.convert('HSV').crop((half * width // 2, 0, (half + 1) * width // 2, height))
            return sum(1 for pixel in part.split()[1].tobytes() if pixel > 100)

        # the losses are on the left in both, the AP on the right only in the first
        assert coloured(one, 0) > 500 and coloured(two, 0) > 500
        assert coloured(one, 1) > 500 and coloured(two, 1) == 0


def test_a_log_without_losses_is_an_error(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_text('{"lr": 0.1, "step": 1}\n')
    with pytest.raises(ValueError, match='has no loss; it has: lr'):
        learning_curve(read_scalars(path))


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / 'scalars.json'
    path.write_text('{"loss": 1, "step": 1}\n{"loss": \n')
    with pytest.raises(ValueError, match='line 2 of .* is not JSON: .* one object per line'):
        read_scalars(path)
