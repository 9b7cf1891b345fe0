"""Grad-CAM of a detection against the formula, written out."""

import sys

import pytest
import torch

from mmattn.visualization import grad_cam
from tests.test_insertion.models import build, model_cfg, narrow
from tests.test_visualization.helpers import assert_same_traces, traces

LAYER = 'backbone.layer3'


def detector(detector_type):
    model = build(
        narrow(
            model_cfg(
                detector_type, insert=[dict(at='backbone.layer[34].*.residual', block=dict(type='mmattn.SE'))]
            )
        )
    ).eval()
    for cfg in (model.test_cfg, model.test_cfg.get('rcnn')):
        if cfg is not None and 'score_thr' in cfg:
            cfg.update(score_thr=0.0, max_per_img=6)
    return model


@pytest.fixture
def data(mmdet_scope):
    from mmdet.testing import demo_mm_inputs

    return demo_mm_inputs(1, [(3, 64, 96)])


def formula(values, score):
    """Equations 1 and 2 of the paper; ``values`` are the layer's."""
    (gradient,) = torch.autograd.grad(score, values, retain_graph=True)
    total = torch.zeros(values.shape[2:])
    for k in range(values.shape[1]):
        total += gradient[0, k].sum() / gradient[0, k].numel() * values.detach()[0, k]
    return torch.where(total > 0, total, torch.zeros_like(total))


@pytest.mark.parametrize('detector_type', ['RetinaNet', 'FasterRCNN'])
def test_equals_the_formula(detector_type, data, monkeypatch):
    """On the scores before they are detached: RetinaNet's sigmoids, Faster R-CNN's softmax."""
    pytest.importorskip('captum')
    model = detector(detector_type)
    before = traces(model)
    found = grad_cam(model, data, LAYER, [0, 2])
    assert_same_traces(model, before)
    values, softmaxes, softmax = [], [], torch.nn.functional.softmax
    handle = model.get_submodule(LAYER).register_forward_hook(lambda m, x, y: values.append(y))
    monkeypatch.setattr(
        torch.nn.functional,
        'softmax',
        lambda *args, **kwargs: softmaxes.append(softmax(*args, **kwargs)) or softmaxes[-1],
    )
    batch = model.data_preprocessor(data, False)
    mode = 'tensor' if detector_type == 'RetinaNet' else 'predict'
    output = model(batch['inputs'].requires_grad_(), batch['data_samples'], mode=mode)
    handle.remove()
    raw = (
        torch.cat([level.flatten() for level in output[0]]).sigmoid()
        if detector_type == 'RetinaNet'
        else softmaxes[-1][:, :-1].flatten()
    )
    scores = model.test_step(data)[0].pred_instances.scores.detach()
    for i, cam in zip([0, 2], found):
        distance = (raw - scores[i]).abs()
        assert distance.min() < 1e-6
        torch.testing.assert_close(cam, formula(values[0], raw[distance.argmin()]), rtol=1e-3, atol=1e-9)
        assert cam.max() > 0


@pytest.mark.parametrize(
    'layer, text',
    [
        ('backbone.layer9', "no module 'backbone.layer9'; nearest: backbone.layer"),
        ('bbox_head.cls_convs.0', 'is called 5 times for an image'),
        ('neck', "'neck' returns tuple, not one map"),
        ('data_preprocessor', 'returns dict, not one map'),
    ],
)
def test_a_wrong_layer_is_refused(layer, text, data):
    pytest.importorskip('captum')
    with pytest.raises(ValueError, match=text):
        grad_cam(detector('RetinaNet'), data, layer, [0])


def test_a_layer_without_a_part_in_the_score(data):
    pytest.importorskip('captum')
    model = detector('RetinaNet')
    model.bbox_head.retina_cls.weight.data.zero_()
    (cam,) = grad_cam(model, data, LAYER, [0])
    assert (cam == 0).all()


def test_without_captum_the_error_says_what_to_install(data, monkeypatch):
    monkeypatch.setitem(sys.modules, 'captum', None)
    monkeypatch.setitem(sys.modules, 'captum.attr', None)
    with pytest.raises(ImportError, match='pip install captum'):
        grad_cam(detector('RetinaNet'), data, LAYER, [0])
