"""Boxes with labels on an image."""

from PIL import ImageDraw

COLOURS = (
    '#e6194b',
    '#1e6edc',
    '#f58b12',
    '#2a9d3c',
    '#8e3cc8',
    '#00a0aa',
    '#d4af00',
    '#f032e6',
    '#7a4a10',
    '#5c6b73',
)
FONT_SIZE = 12


def draw_boxes(picture, boxes, names, colours, scale, font):
    """Draw boxes into a PIL picture, with labels that do not cover each other.

    Args:
        picture (Image): Is changed.
        boxes (list[dict]): As in COCO: ``bbox`` (x, y, w, h), ``category_id``, perhaps ``score``.
        names (dict): By category.
        colours (dict): By category.
        scale (float): From pixels of the boxes to those of the picture.
        font (ImageFont): Of the labels.
    """
    draw = ImageDraw.Draw(picture)
    labels = []
    for box in sorted(boxes, key=lambda box: box.get('score', 1)):  # the surest on top
        x, y, w, h = (value * scale for value in box['bbox'])
        w, h = max(w, 2), max(h, 2)  # what is smaller has no inside to draw around
        colour = colours[box['category_id']]
        draw.rectangle((x, y, x + w, y + h), outline='white', width=4)
        draw.rectangle((x + 1, y + 1, x + w - 1, y + h - 1), outline=colour, width=2)
        text = names[box['category_id']]
        if box.get('iscrowd'):
            text += ' (crowd)'
        if 'score' in box:
            text += f' {box["score"]:.2f}'
        labels.append((x, y, text, colour))
    taken = []
    for x, y, text, colour in reversed(labels):
        # inside the picture, and not over a label that is there already
        text_width = draw.textlength(text, font) + 4
        left = min(max(x, 0), picture.width - text_width)
        top = min(max(y - 15, 0), picture.height - 15)
        while (
            any(
                abs(top - there) < 15 and left < right and other < left + text_width
                for there, other, right in taken
            )
            and top + 30 <= picture.height
        ):
            top += 15
        taken.append((top, left, left + text_width))
        draw.rectangle((left, top, left + text_width, top + 14), fill=colour)
        draw.text((left + 2, top), text, 'white', font)
