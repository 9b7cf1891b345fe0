"""Embed an image in an HTML page, so that the page needs no other file."""

from __future__ import annotations

import base64
import html
import io

from PIL import Image


def image_tag(image: Image.Image, alt: str, format: str = 'PNG', quality: int = 88) -> str:
    """Return an ``<img>`` element that contains ``image`` itself, base64-encoded.

    Args:
        image: The image.
        alt: Text for readers who cannot see it.
        format: ``'PNG'`` or ``'JPEG'``.
        quality: Quality of a JPEG, from 1 to 95.
    """
    data = io.BytesIO()
    image.save(data, format, **(dict(quality=quality, optimize=True) if format == 'JPEG' else {}))
    source = f'data:image/{format.lower()};base64,{base64.b64encode(data.getvalue()).decode()}'
    return f'<img src="{source}" alt="{html.escape(alt)}" width="{image.width}" height="{image.height}">'
