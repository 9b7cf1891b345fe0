"""Probe of tools/doctor.py: does a small Faster R-CNN run, as MMDetection has it and with attention?"""

import logging
import time

import torch
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import InstanceData

CODER = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2])
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.0)
SAMPLER = dict(type='RandomSampler', num=16, pos_fraction=0.5)
PROPOSALS = dict(nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=0.7))
DETECTOR = dict(
    type='FasterRCNN',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[127.0] * 3, std=[64.0] * 3),
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_eval=False),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5),
    rpn_head=dict(
        type='RPNHead',
        in_channels=16,
        feat_channels=16,
        bbox_coder=CODER,
        anchor_generator=dict(
            type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
        ),
    ),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            out_channels=16,
            featmap_strides=[4, 8, 16, 32],
            roi_layer=dict(type='RoIAlign', output_size=7),
        ),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=32, num_classes=2, bbox_coder=CODER
        ),
    ),
    train_cfg=dict(
        rpn=dict(assigner=ASSIGNER, sampler=SAMPLER, allowed_border=-1, pos_weight=-1, debug=False),
        rpn_proposal=PROPOSALS,
        rcnn=dict(assigner=ASSIGNER, sampler=SAMPLER, pos_weight=-1, debug=False),
    ),
    test_cfg=dict(
        rpn=PROPOSALS,
        rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
    ),
)
WITH_ATTENTION = {
    **DETECTOR,
    'type': 'mmattn.WithAttention',
    'detector': 'FasterRCNN',
    'insert': [
        dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM')),
        dict(at='neck.fpn_convs.*', block=dict(type='mmattn.ECA')),
    ],
}


def probe() -> dict:
    """Return the device, and for each detector the seconds of a step and a test, or its error."""
    logging.disable(logging.WARNING)
    register_all_modules(init_default_scope=True)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    report = dict(device=device)
    for name, config in (('plain', DETECTOR), ('with_attention', WITH_ATTENTION)):
        try:
            report[name] = run(config, device)
        except Exception as error:
            report[name] = f'{type(error).__name__}: {error}'
    return report


def run(config: dict, device: str) -> float:
    """Build a detector, train it for one step and detect once; return the seconds."""
    began = time.perf_counter()
    model = MODELS.build(Config(dict(model=config)).model).to(device)
    size = (64, 64)
    sample = DetDataSample(
        metainfo=dict(
            img_shape=size,
            ori_shape=size,
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1.0, 1.0),
        )
    )
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]), labels=torch.tensor([1])
    )
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    data = dict(inputs=[image], data_samples=[sample])
    model.train()
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    model.parse_losses(losses)[0].backward()
    # Any one head may see no box; the backbone's last stage always gets a gradient.
    assert model.backbone.layer4[-1].conv2.weight.grad.abs().sum() > 0, 'no gradient'
    model.eval()
    with torch.no_grad():
        model.test_step(data)
    return round(time.perf_counter() - began, 1)
