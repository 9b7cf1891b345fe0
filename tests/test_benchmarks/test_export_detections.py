"""The page says what was measured, and exported detectors are the same detectors."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import export_detections  # noqa: E402

FOUND = json.loads(export_detections.RESULTS.read_text())


def test_the_committed_page_is_of_the_committed_file():
    assert export_detections.page(FOUND) == export_detections.PAGE.read_text(encoding='utf-8')


@pytest.mark.parametrize('name', FOUND['detectors'])
def test_the_same_detections_and_ap(name):
    found = FOUND['detectors'][name]
    assert found['images'] >= 70 and found['share'] >= 0.999 and found['openvino']['share'] >= 0.999
    assert abs(found['ap']['onnx'] - found['ap']['torch']) <= 1e-4
    assert all(row['share'] == 1 for row in found['exports'] if 'refused' not in row)


def test_detectors_with_random_weights():
    """Rounding may move an overlap across the threshold of NMS."""
    found = FOUND['untrained'].values()
    assert len(found) >= 6 and all(row['detections'] >= 100 and row['share'] >= 0.99 for row in found)
