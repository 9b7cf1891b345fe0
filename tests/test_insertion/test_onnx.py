"""A backbone with attention at the ends of its residual branches as an ONNX file, by both exporters."""

import pytest
import torch
from torch import nn

from mmattn.blocks.contract import EXPORTERS, randomise
from tests.test_insertion.models import build, model_cfg, narrow

INSERT = [
    dict(at=f'backbone.layer{stage}.*.residual', block=dict(type=f'mmattn.{block}', start=start))
    for stage, block, start in ((2, 'SE', 'paper'), (3, 'CBAM', 'paper'), (4, 'ECA', 'identity'))
]


class Pyramid(nn.Module):
    """What a detector's head gets. Attention is the detector's: the backbone alone does not contain it."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, image):
        return self.detector.extract_feat(image)


@pytest.fixture(scope='module')
def detector():
    return randomise(build(narrow(model_cfg('RetinaNet', insert=INSERT)))).eval()


@pytest.mark.parametrize(
    'exporter, opset',
    [('torchscript', 11), pytest.param('dynamo', 18, marks=pytest.mark.slow)],
)
@pytest.mark.filterwarnings('ignore')
def test_a_detector_with_attention_gives_the_same_maps(exporter, opset, detector, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    model = Pyramid(detector).eval()
    file = str(tmp_path / 'pyramid.onnx')
    EXPORTERS[exporter].export(model, torch.randn(2, 3, 64, 96), file, opset, 1)
    session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
    for shape in ((2, 3, 64, 96), (1, 3, 96, 32), (3, 3, 32, 160)):
        image = torch.randn(shape)
        got = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        with torch.no_grad():
            expected = model(image)
        assert len(got) == len(expected) == 5
        for one, other in zip(got, expected):
            torch.testing.assert_close(torch.from_numpy(one), other, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings('ignore')
def test_torchscript_refuses_the_backbone_alone(detector, tmp_path):
    """As docs/export_blocks.md says: it does not contain the weights of its attention."""
    with pytest.raises(RuntimeError, match='Cannot insert a Tensor that requires grad as a constant'):
        EXPORTERS['torchscript'].export(
            detector.backbone, torch.randn(1, 3, 32, 32), str(tmp_path / 'backbone.onnx'), 11, 1
        )
