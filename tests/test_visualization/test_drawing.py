"""Labelled boxes on an image."""

import numpy as np
from PIL import Image, ImageColor

from mmattn.visualization.drawing import COLOURS, draw_boxes, draw_masks

NAMES, BY_CATEGORY = {1: 'cat', 2: 'dog'}, {1: COLOURS[0], 2: COLOURS[1]}


def drawn(boxes, scale=1.0):
    image = Image.new('RGB', (120, 100), 'black')
    draw_boxes(image, boxes, NAMES, BY_CATEGORY, scale)
    return np.asarray(image)


def of_colour(image, colour):
    return (image == ImageColor.getrgb(colour)).all(-1)


def test_a_box_has_its_colour_where_it_is_and_a_white_rim():
    image = drawn([dict(bbox=[20, 40, 50, 30], category_id=2)])
    assert not of_colour(image, COLOURS[0]).any()
    rows, columns = np.nonzero(of_colour(image, COLOURS[1])[40:])
    assert (columns.min(), columns.max(), rows.max() + 40) == (21, 69, 69)
    assert (image[60, 20] == 255).all() and not image[55, 40].any()  # its inside is left as it was


def test_boxes_are_scaled():
    assert (
        drawn([dict(bbox=[10, 20, 25, 15], category_id=1)], 2.0)
        == drawn([dict(bbox=[20, 40, 50, 30], category_id=1)])
    ).all()


def test_the_highest_score_is_on_top():
    low, high = (dict(bbox=[20, 40, 50, 30], category_id=i, score=i / 10) for i in (1, 2))
    for boxes in ([low, high], [high, low]):
        frame = drawn(boxes)[60, 21]
        assert tuple(frame) == ImageColor.getrgb(COLOURS[1])


def test_a_box_that_leaves_the_image_far_is_drawn_where_it_is_in_it():
    """Pillow walks along every edge, also where there is no image: such a box took hours."""
    drawn = [Image.new('RGB', (60, 40)) for _ in range(3)]
    for image, box in zip(drawn, ([10, 20, 1e300, 1e300], [10, 20, 200, 200], [1e300, 1e300, 9, 9])):
        draw_boxes(image, [dict(bbox=box, category_id=1)], {1: ''}, {1: COLOURS[0]})
    far, near, outside = map(np.asarray, drawn)
    assert (
        np.array_equal(far[20:, 10:], near[20:, 10:]) and (far[30, 11] == ImageColor.getrgb(COLOURS[0])).all()
    )
    assert not (outside[:20] == 255).any()


def test_masks_colour_their_pixels_and_no_others():
    image = Image.new('RGB', (40, 20), (100, 100, 100))
    mask = np.zeros((10, 20), bool)  # half the size of the image
    mask[:, :10] = True
    draw_masks(image, [mask], ['#ff0000'])
    left, right = np.asarray(image)[:, :18], np.asarray(image)[:, 22:]
    assert (right == 100).all()
    assert (left[..., 0] > 150).all() and (left[..., 1:] < 100).all() and (left[..., 1] > 30).all()
