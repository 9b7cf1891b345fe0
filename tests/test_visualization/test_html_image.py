"""An image within a page."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from mmattn.visualization.html_image import image_tag


@pytest.mark.parametrize('format', ['PNG', 'JPEG'])
def test_the_tag_holds_the_image(format):
    image = Image.new('RGB', (5, 3), (200, 30, 40))
    tag = image_tag(image, 'a <b> "c"', format)
    found = re.fullmatch(
        r'<img src="data:image/(\w+);base64,([\w+/=]+)" alt="(.*)" width="5" height="3">', tag
    )
    assert found[1] == format.lower() and found[3] == 'a &lt;b&gt; &quot;c&quot;'
    with Image.open(io.BytesIO(base64.b64decode(found[2]))) as read:
        assert read.format == format
        assert np.abs(np.asarray(read, int) - np.asarray(image, int)).max() <= (0 if format == 'PNG' else 4)
