"""Images beside each other keep their pixels, and no caption is cut off."""

import numpy as np
from PIL import Image, ImageChops

from mmattn.visualization.drawing import label_font
from mmattn.visualization.side_by_side import side_by_side


def noise(width, height, seed):
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def test_images_are_pasted_as_they_are():
    left, right = noise(80, 60, 0), noise(50, 40, 1)
    joined = side_by_side([('a', left), ('b', right)])
    assert joined.size == (80 + 8 + 50, 18 + 60)
    assert joined.crop((0, 18, 80, 78)).tobytes() == left.tobytes()
    assert joined.crop((88, 18, 138, 58)).tobytes() == right.tobytes()


def test_a_long_caption_takes_more_lines_and_stays_above_its_image():
    caption = 'gates at backbone: 0.963 to 1.189 of (0, 2)'
    image, other = noise(120, 60, 0), noise(120, 60, 1)
    joined = side_by_side([(caption, image), ('short', other)])
    lines = (joined.height - 60 - 2) // 16
    assert lines >= label_font().getlength(caption) / 120 > 1
    gap = joined.crop((121, 0, 127, joined.height))  # nothing of the caption is between the images
    assert ImageChops.invert(gap).getbbox() is None
    assert joined.crop((0, joined.height - 60, 120, joined.height)).tobytes() == image.tobytes()
