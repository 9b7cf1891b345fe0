"""Which of MMDetection's detectors can be exported, and what is said of the others."""

import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.hub import get_config

from mmattn.export import CannotExport, ExportedDetector, detector_graph
from mmattn.export.agreement import Agreement
from mmattn.export.whole_detector import onnx_bytes
from tests.test_export.test_whole_detector import image, sample

POSSIBLE = [
    'retinanet/retinanet_r18_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'atss/atss_r50_fpn_1x_coco.py',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'fsaf/fsaf_r50_fpn_1x_coco.py',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
]
REFUSED = {
    'detr/detr_r50_8xb2-150e_coco.py': 'DETR cannot be exported: it predicts in its own way (its predict() '
    'is neither of SingleStageDetector nor of TwoStageDetector). Possible are detectors with one dense head',
    'gfl/gfl_r50_fpn_1x_coco.py': 'GFL cannot be exported: GFLHead has its own _predict_by_feat_single, not '
    'that of BaseDenseHead',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py': 'MaskRCNN cannot be exported: it predicts masks, which the '
    'file would drop',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py': 'CascadeRCNN cannot be exported: CascadeRoIHead has '
    'its own',
    'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py': 'DoubleHeadRoIHead has its own _bbox_forward',
    'ssd/ssd300_coco.py': 'SSDHead has no loss_cls or no bbox_coder',
    'yolox/yolox_tiny_8xb8-300e_coco.py': 'YOLOX cannot be exported: YOLOXHead has its own predict_by_feat',
}


def on_no_device(config):
    cfg = get_config(f'mmdet::{config}')
    for part in (cfg.model, cfg.model.backbone):
        part.init_cfg = None
    with torch.device('meta'):
        return cfg, MODELS.build(cfg.model)


@pytest.mark.usefixtures('mmdet_scope')
@pytest.mark.parametrize('config', POSSIBLE[:1] + POSSIBLE[-1:])
def test_possible(config):
    detector_graph(on_no_device(config)[1])


@pytest.mark.usefixtures('mmdet_scope')
@pytest.mark.parametrize('config', REFUSED)
def test_refused_with_the_reason(config):
    with pytest.raises(CannotExport, match=re.escape(REFUSED[config])):
        detector_graph(on_no_device(config)[1])


@pytest.mark.usefixtures('mmdet_scope')
@pytest.mark.parametrize(
    'option, value, says',
    [
        ('nms_pre', -1, 'test_cfg.nms_pre of the head sets no limit, and NMS in a graph needs one'),
        ('max_per_img', -1, 'test_cfg.max_per_img of the head sets no limit, and an output needs a size'),
        ('min_bbox_size', 8, 'test_cfg.min_bbox_size=8 is of the image before it was resized'),
        ('nms', None, 'the head uses nms=None, and ONNX has nms of type nms with an iou_threshold'),
        (
            'nms',
            dict(type='nms', iou_threshold=0.5, max_num=3),
            'nms of the head has max_num, which that of ONNX has not',
        ),
    ],
)
def test_a_setting_that_a_graph_cannot_have(option, value, says):
    model = on_no_device(POSSIBLE[0])[1]
    model.bbox_head.test_cfg[option] = value
    with pytest.raises(CannotExport, match=re.escape(says)):
        detector_graph(model)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.usefixtures('mmdet_scope')
@pytest.mark.parametrize('config', POSSIBLE)
def test_detectors_of_mmdetection(config, tmp_path):
    """With random weights, which give many detections of nearly the same score."""
    cfg = get_config(f'mmdet::{config}')
    for part in (cfg.model, cfg.model.backbone):
        part.init_cfg = None
    if 'rcnn' in cfg.model.test_cfg:
        cfg.model.test_cfg.rcnn.score_thr = 0.0
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    graph = detector_graph(model)
    file = tmp_path / 'a.onnx'
    file.write_bytes(onnx_bytes(graph, cfg))
    agreement = Agreement()
    for height, width in ((256, 320), (320, 192)):
        batch = dict(inputs=[image(height, width)])
        first, second = (
            each.test_step(dict(batch, data_samples=[sample(height, width)]))[0].pred_instances
            for each in (model, ExportedDetector(str(file)))
        )
        agreement.add(first, second)
    assert agreement.detections > 50 and agreement.share >= 0.98, agreement


@pytest.mark.slow
@pytest.mark.usefixtures('mmdet_scope')
def test_what_an_exporter_lacks_is_said():
    cfg = get_config('mmdet::libra_rcnn/libra-retinanet_r50_fpn_1x_coco.py')
    cfg.model.backbone.init_cfg = None
    graph = detector_graph(MODELS.build(cfg.model).eval())
    says = (
        'RetinaNet cannot be exported by the exporter torchscript at opset 18: Unsupported: ONNX export of op'
    )
    with pytest.raises(CannotExport, match=f'{says}.*Try --exporter dynamo'):
        onnx_bytes(graph, cfg)


@pytest.mark.slow
@pytest.mark.usefixtures('mmdet_scope')
def test_operators_of_others_are_refused():
    cfg = get_config('mmdet::dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py')
    cfg.model.backbone.init_cfg = None
    graph = detector_graph(MODELS.build(cfg.model).eval())
    with pytest.raises(CannotExport, match='ModulatedDeformConv2d, which are no operators of standard ONNX'):
        onnx_bytes(graph, cfg)
