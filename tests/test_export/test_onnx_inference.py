"""demo/onnx_inference.py where there is no PyTorch: the detections are those of MMDetection."""

import subprocess
import sys

import cv2
import numpy as np

from mmattn.export import ExportedDetector

# Nothing of these may be imported.
BLOCKED = ('torch', 'mmcv', 'mmdet', 'mmengine', 'mmattn', 'cv2')


def test_boxes_and_a_drawing_without_pytorch(exported, squares, tmp_path, request):
    script = request.config.rootpath / 'demo/onnx_inference.py'
    source, out = squares / 'images/val_0.png', tmp_path / 'out.png'
    code = (
        f'import sys, runpy; sys.modules.update(dict.fromkeys({BLOCKED})); sys.argv = sys.argv[1:]; '
        'sys.modules.pop("__main__", None); runpy.run_path(sys.argv[0], run_name="__main__")'
    )
    done = subprocess.run(
        [sys.executable, '-I', '-c', code, str(script), exported[2], str(source), str(out)],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    image = cv2.imread(str(source))
    dets, labels = ExportedDetector(exported[2]).detect(image.transpose(2, 0, 1))
    rows = [line.split() for line in done.stdout.splitlines()]
    shown = dets[:, 4] >= 0.3
    assert len(rows) == shown.sum() > 0
    np.testing.assert_allclose([[float(x) for x in row[2:]] for row in rows], dets[shown, :4], atol=0.11)
    assert [row[0] for row in rows] == [('bright', 'dark')[label] for label in labels[shown]]
    assert (cv2.imread(str(out)) != image).any()
