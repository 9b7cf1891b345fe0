"""What the annotations of the shapes data set say is what the images show."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmattn.datasets import coco_annotation, drawing, scenes

SIZE = 256


def draw(seed, size=SIZE):
    return scenes.make_scene(np.random.default_rng(seed), size)


@pytest.fixture(scope='module')
def many():
    return [draw(seed) for seed in range(60)]


def decode(annotation, size=SIZE):
    segmentation = annotation['segmentation']
    return coco_mask.decode(
        coco_mask.merge(
            coco_mask.frPyObjects(
                segmentation if isinstance(segmentation, list) else [segmentation], size, size
            )
        )
    )


def painted(monkeypatch, seed, size=SIZE):
    """The scene's annotations, and the index of the annotation that each pixel shows.

    Painting is replaced by filling each item with its own number, in the same order.
    """
    order = []

    def number(canvas, item, rng, scale):
        order.append(item.label is not None)
        value = sum(order) if order[-1] else 0
        for corners in item.parts:
            drawing.fill(canvas, corners, (value,) * 3)

    monkeypatch.setattr(drawing, 'paint_background', lambda canvas, rng: None)
    monkeypatch.setattr(drawing, 'finish', lambda canvas: canvas[::2, ::2, 0])
    monkeypatch.setattr(scenes, '_paint', number)
    return draw(seed, size)


def test_same_seed_same_scene():
    one, two, other = draw([3, 1]), draw([3, 1]), draw([3, 2])
    assert (one[0] == two[0]).all() and one[1] == two[1]
    assert (one[0] != other[0]).any() and one[1] != other[1]


@pytest.mark.parametrize('seed', range(12))
def test_segmentations_cover_the_visible_pixels_of_each_object(monkeypatch, seed):
    owner, annotations = painted(monkeypatch, seed)
    for index, annotation in enumerate(annotations, start=1):
        said, shown = decode(annotation).astype(bool), owner == index
        # outlines differ by up to half a pixel on their whole length
        assert (said & shown).sum() / (said | shown).sum() > 0.85
        rows, columns = np.nonzero(shown)
        left, top, width, height = annotation['bbox']
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        # a corner of a triangle is thinner than a pixel, and what is less than a sliver is not said
        assert np.abs(np.subtract(edges, (left, top, left + width, top + height))).max() <= 3
        assert annotation['area'] == pytest.approx(shown.sum(), rel=0.12)


def test_area_and_box_are_those_of_the_segmentation(many):
    for _, annotations in many:
        for annotation in annotations:
            assert annotation['area'] == pytest.approx(decode(annotation).sum(), rel=0.12)
            if annotation['iscrowd']:
                assert annotation['area'] == decode(annotation).sum()
            else:
                points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in annotation['segmentation']])
                left, top, width, height = annotation['bbox']
                assert points.min(axis=0) == pytest.approx([left, top])
                assert points.max(axis=0) == pytest.approx([left + width, top + height])
            assert min(annotation['bbox'][:2]) >= 0
            assert annotation['bbox'][0] + annotation['bbox'][2] <= SIZE + 0.01
            assert annotation['bbox'][1] + annotation['bbox'][3] <= SIZE + 0.01


def test_no_object_is_hidden_more_than_promised(monkeypatch):
    checked = 0

    def check(canvas, item, rng, scale):
        nonlocal checked
        checked += item.label is not None
        assert item.visible.area >= scenes.MIN_VISIBLE * item.full.area

    monkeypatch.setattr(scenes, '_paint', check)
    for seed in range(20):
        draw(seed)
    assert checked > 40


def test_the_set_has_all_that_it_promises(many):
    everything = [annotation for _, annotations in many for annotation in annotations]
    small, large = scenes.area_limits(SIZE)
    assert (small, large) == (32**2, 96**2)
    areas = np.array([annotation['area'] for annotation in everything])
    for share in (
        (areas < small).mean(),
        ((areas >= small) & (areas < large)).mean(),
        (areas >= large).mean(),
    ):
        assert share > 0.08
    assert {annotation['label'] for annotation in everything} == set(range(len(scenes.CLASSES)))
    assert any(not annotations for _, annotations in many)
    crowds = [annotation for annotation in everything if annotation['iscrowd']]
    assert 1 <= len(crowds) < 20
    assert any(
        len(annotation['segmentation']) > 1 for annotation in everything if not annotation['iscrowd']
    ), 'no object is cut in two by an occluder'


def test_shape_and_texture_are_both_needed():
    pairs = {tuple(name.split()) for name in scenes.CLASSES}
    assert pairs == {(texture, shape) for texture in scenes.TEXTURES for shape in scenes.SHAPES}
    lookalikes = set(scenes._LOOKALIKES)
    assert not pairs & lookalikes
    assert all(texture in scenes.TEXTURES or shape in scenes.SHAPES for texture, shape in lookalikes)


def test_smaller_images_have_smaller_objects_and_limits():
    assert scenes.area_limits(128) == (16**2, 48**2)
    image, annotations = draw(0, 128)
    assert image.shape == (128, 128, 3) and image.dtype == np.uint8
    whole = draw(0, 256)[1]
    assert len(annotations) == len(whole)
    for half, full in zip(annotations, whole):
        assert half['area'] == pytest.approx(full['area'] / 4, rel=0.05)


def test_run_lengths_survive_pycocotools():
    for seed in range(5):
        mask = np.random.default_rng(seed).integers(0, 2, (7, 11)).astype(np.uint8)
        mask[0, 0] = seed % 2
        rle = coco_annotation.run_lengths(mask)
        assert sum(rle['counts']) == mask.size
        assert (coco_mask.decode(coco_mask.frPyObjects(rle, 7, 11)) == mask).all()


@pytest.mark.parametrize('shape', drawing.OUTLINES)
def test_outlines_have_the_area_they_are_asked_for(shape):
    corners = drawing.outline(shape, (50, 60), 20, 0.7, 1.2)
    canvas = drawing.blank(128)
    drawing.fill(canvas, corners, (255, 255, 255))
    assert (canvas[..., 0] > 0).sum() / drawing.OVERSAMPLE**2 == pytest.approx(400, rel=0.1)
    assert corners.mean(axis=0) == pytest.approx([50, 60], abs=1e-6)


def test_textures_differ_from_each_other():
    x, y = np.meshgrid(np.linspace(0, 4, 64), np.linspace(0, 4, 64))
    inks = {name: texture(x, y) for name, texture in drawing.TEXTURES.items()}
    assert not inks.pop('plain').any()
    for name, ink in inks.items():
        assert 0.25 < ink.mean() < 0.6, name
        assert all((ink != other).mean() > 0.2 for rest, other in inks.items() if rest != name)
