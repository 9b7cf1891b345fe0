"""A page of pictures: ground truth beside detections."""

import base64
import html
import io
from pathlib import Path

from mmengine.fileio import load
from PIL import Image, ImageDraw, ImageFont

from mmattn.visualization.drawing import COLOURS, FONT_SIZE, draw_boxes

_GAP = 8
_CAPTION = 18


def draw_pairs(ann_file, image_root, detections, limit=12, score=0.4, width=320):
    """Draw pictures of a data set twice: with what is in them, and with what was found.

    Args:
        ann_file (str | Path): Annotations in COCO format.
        image_root (str | Path): Folder that the file names in the annotations start from.
        detections (str | Path): Detections in COCO's result format.
        limit (int): How many pictures, evenly spread over the data set.
        score (float): Detections below it are left out.
        width (int): Each picture is scaled to this width, in pixels.

    Returns:
        list: ``(file name, PIL image)``, with ground truth on the left and detections on the right.
    """
    truth = load(str(ann_file), file_format='json')
    found = [box for box in load(str(detections), file_format='json') if box['score'] >= score]
    names = {category['id']: category['name'] for category in truth['categories']}
    colours = {key: COLOURS[index % len(COLOURS)] for index, key in enumerate(names)}
    images = truth['images']
    count = min(limit, len(images))
    pairs = []
    for index in range(count):
        image = images[index * len(images) // count]
        sides = [
            [box for box in boxes if box['image_id'] == image['id']]
            for boxes in (truth['annotations'], found)
        ]
        with Image.open(Path(image_root) / image['file_name']) as picture:
            picture = picture.convert('RGB')
        pairs.append((image['file_name'], _pair(picture, sides, names, colours, width)))
    return pairs


def _pair(picture, sides, names, colours, width):
    height = round(picture.height * width / picture.width)
    scale = width / picture.width
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC)
    sheet = Image.new('RGB', (2 * width + _GAP, height + _CAPTION), 'white')
    font = ImageFont.load_default(FONT_SIZE)
    writer = ImageDraw.Draw(sheet)
    for column, (caption, boxes) in enumerate(zip(('ground truth', 'detections'), sides)):
        left = column * (width + _GAP)
        writer.text((left, 2), f'{caption} ({len(boxes)})', 'black', font)
        drawn = scaled.copy()
        draw_boxes(drawn, boxes, names, colours, scale, font)
        sheet.paste(drawn, (left, _CAPTION))
    return sheet


def write_sheet(pairs, path, columns=2):
    """Write the pairs, at least one, as one PNG."""
    if not pairs:
        raise ValueError(f"no pictures to put on the sheet '{path}': is the data set empty?")
    rows = -(-len(pairs) // columns)
    width, height = (max(sizes) for sizes in zip(*(image.size for _, image in pairs)))
    gap = 3 * _GAP
    sheet = Image.new('RGB', (columns * (width + gap) + gap, rows * (height + gap) + gap), 'white')
    for index, (_, image) in enumerate(pairs):
        row, column = divmod(index, columns)
        sheet.paste(image, (gap + column * (width + gap), gap + row * (height + gap)))
    sheet.save(path)


def write_page(pairs, path, title, text=''):
    """Write the pairs as one HTML file that needs no other."""
    parts = [
        '<!doctype html><meta charset="utf-8">',
        f'<title>{html.escape(title)}</title>',
        '<style>body{font-family:sans-serif;margin:2em} figure{display:inline-block;margin:0 1.5em '
        '1.5em 0} figcaption{color:#555;font-size:small} pre{font-size:medium}</style>',
        f'<h1>{html.escape(title)}</h1>',
        f'<pre>{html.escape(text)}</pre>' if text else '',
    ]
    for name, image in pairs:
        data = io.BytesIO()
        image.save(data, 'PNG')
        source = base64.b64encode(data.getvalue()).decode()
        parts.append(
            f'<figure><img src="data:image/png;base64,{source}" alt="ground truth and '
            f'detections"><figcaption>{html.escape(name)}</figcaption></figure>'
        )
    Path(path).write_text('\n'.join(parts) + '\n', encoding='utf-8')
