"""Put images beside each other, each below its caption."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from mmattn.visualization.drawing import label_font

_GAP = 8
_LINE = 16


def side_by_side(panels: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Return one image of several on white; a caption that is too wide for its image takes more lines.

    Args:
        panels: Captions and images.

    Example:
        >>> from PIL import Image
        >>> side_by_side([('left', Image.new('RGB', (80, 60))), ('right', Image.new('RGB', (80, 60)))]).size
        (168, 78)
    """
    captions = [_lines(caption, image.width) for caption, image in panels]
    above = 2 + _LINE * max(map(len, captions))
    width = sum(image.width for _, image in panels) + _GAP * (len(panels) - 1)
    joined = Image.new('RGB', (width, above + max(image.height for _, image in panels)), 'white')
    draw, left = ImageDraw.Draw(joined), 0
    for lines, (_, image) in zip(captions, panels):
        for number, line in enumerate(lines):
            draw.text((left, 2 + _LINE * number), line, 'black', label_font())
        joined.paste(image, (left, above))
        left += image.width + _GAP
    return joined


def _lines(text: str, width: int) -> list[str]:
    """Break a text into lines of at most ``width`` pixels, at blanks."""
    lines: list[str] = []
    for word in text.split():
        if lines and label_font().getlength(f'{lines[-1]} {word}') <= width:
            lines[-1] += f' {word}'
        else:
            lines.append(word)
    return lines or ['']
