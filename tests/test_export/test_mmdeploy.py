"""mmdeploy exports a detector with attention as the plain one, where mmdeploy is installed."""

import functools

import pytest
import torch
from mmengine.config import Config

from mmattn.engine import load_config
from mmattn.engine.config_images import images
from mmattn.engine.trained import trained_detector

DEPLOY = dict(
    onnx_config=dict(
        type='onnx',
        export_params=True,
        keep_initializers_as_inputs=False,
        opset_version=11,
        save_file='end2end.onnx',
        input_names=['input'],
        output_names=['dets', 'labels'],
        input_shape=None,
        optimize=False,
        dynamic_axes=dict(input={0: 'n', 2: 'h', 3: 'w'}, dets={0: 'n', 1: 'k'}, labels={0: 'n', 1: 'k'}),
    ),
    codebase_config=dict(
        type='mmdet',
        task='ObjectDetection',
        model_type='end2end',
        post_processing=dict(
            score_threshold=0.0,
            confidence_threshold=0.005,
            iou_threshold=0.5,
            max_output_boxes_per_class=200,
            pre_top_k=5000,
            keep_top_k=100,
            background_label_id=-1,
        ),
    ),
    backend_config=dict(type='onnxruntime'),
)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.usefixtures('mmdet_scope')
def test_a_detector_with_attention(single_stage, squares, tmp_path, monkeypatch):
    mmdeploy = pytest.importorskip('mmdeploy.apis', reason='mmdeploy is not installed')
    import onnxruntime

    # It expects the exporter that was the default when it was written.
    monkeypatch.setattr(torch.onnx, 'export', functools.partial(torch.onnx.export, dynamo=False))
    config, checkpoint = single_stage
    image = str(squares / 'images/val_0.png')
    cfg = load_config(config)
    mmdeploy.torch2onnx(image, str(tmp_path), 'end2end.onnx', Config(DEPLOY), cfg, checkpoint, 'cpu')
    session = onnxruntime.InferenceSession(str(tmp_path / 'end2end.onnx'))
    cfg, model = trained_detector(config, checkpoint)
    batch = next(images(cfg, 1))
    data = model.data_preprocessor(batch, False)
    dets, _ = session.run(None, {'input': data['inputs'].numpy()})
    expected = model.test_step(batch)[0].pred_instances
    torch.testing.assert_close(
        torch.from_numpy(dets[0, : len(expected), 4]), expected.scores, atol=1e-4, rtol=0
    )
