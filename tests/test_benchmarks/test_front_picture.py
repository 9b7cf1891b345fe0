"""The picture on top of README.md is drawn from an inspected image, and is small enough for a page."""

import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mmattn.visualization import Inspector

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import front_picture  # noqa: E402


def test_boxes_beside_gates(detectors, squares):
    inspector = Inspector(str(detectors / 'detector.py'), str(detectors / 'detector.pth'), score_thr=0)
    inspection = inspector.inspect(str(squares / 'images/val_0.png'), 'val_0.png')
    assert len(inspection.detections)
    with_boxes = np.asarray(front_picture.draw(inspection, 'backbone.layer1.0.residual'))
    inspection.detections = inspection.detections[:0]
    without = np.asarray(front_picture.draw(inspection, 'backbone.layer1.0.residual'))
    assert with_boxes.shape == without.shape == (620, 1140, 3)
    changed = (with_boxes != without).any(2)
    assert changed[:, :560].any() and changed[:, 580:].any()


def test_the_picture_of_the_page():
    source, alt = re.search(
        r'<img src="([^"]+)"[^>]* alt="([^"]+)"', (ROOT / 'README.md').read_text()
    ).groups()
    assert ROOT / source == front_picture.PICTURE
    assert len(alt) > 40
    assert front_picture.PICTURE.stat().st_size < 150_000
    with Image.open(front_picture.PICTURE) as image:
        assert image.size == (1140, 620)
