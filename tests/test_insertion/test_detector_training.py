"""Attention that starts as the identity learns in detectors of every kind."""

import sys
from pathlib import Path

import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.logging import MessageHub

from mmattn import attach
from mmattn.insertion import identity

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))
import mmdet_configs  # noqa: E402

R18 = dict(backbone=dict(depth=18), neck=dict(in_channels=[64, 128, 256, 512]))
R18_DETR = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=[128, 256, 512]),
    num_queries=20,
    encoder=dict(num_layers=1),
    decoder=dict(num_layers=2),
)
SWIN = dict(
    backbone=dict(depths=[1, 1, 1, 1], embed_dims=24, num_heads=[1, 2, 4, 8]),
    neck=dict(in_channels=[48, 96, 192]),
)
# Quicker heads, and a loss on every level.
FEW = dict(
    R18,
    train_cfg=dict(
        rpn_proposal=dict(max_per_img=20),
        rcnn=dict(sampler=dict(num=16)),
        rpn=dict(sampler=dict(num=10000), allowed_border=-1),
    ),
)
QUICK = {
    'Faster R-CNN': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', FEW),
    'RetinaNet': ('retinanet/retinanet_r18_fpn_1x_coco.py', {}),
    'CenterNet': ('centernet/centernet_r18_8xb16-crop512-140e_coco.py', {}),
    'YOLOX': ('yolox/yolox_tiny_8xb8-300e_coco.py', {}),
    'RTMDet': ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', {}),
    'DETR': (
        'detr/detr_r18_8xb2-500e_coco.py',
        dict(num_queries=20, encoder=dict(num_layers=1), decoder=dict(num_layers=2)),
    ),
    'Swin': ('swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py', SWIN),
}
LONG = {
    'FCOS': ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', R18),
    'PVT': ('pvt/retinanet_pvtv2-b0_fpn_1x_coco.py', {}),
    'Mask R-CNN': ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', FEW),
    'Cascade Mask R-CNN': (
        'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py',
        dict(R18, train_cfg=dict(rpn=FEW['train_cfg']['rpn'])),
    ),
    'ResNet-50': ('retinanet/retinanet_r50_fpn_1x_coco.py', {}),
    'ATSS': ('atss/atss_r50_fpn_1x_coco.py', R18),
    'TOOD': ('tood/tood_r50_fpn_1x_coco.py', R18),
    'YOLOF': ('yolof/yolof_r50-c5_8xb8-1x_coco.py', {}),
    'YOLOv3': ('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py', {}),
    'SSD': ('ssd/ssd300_coco.py', dict(train_cfg=dict(neg_pos_ratio=10000))),
    'SSDLite': ('ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py', {}),
    'HRNet': ('hrnet/fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco.py', {}),
    'EfficientNet': ('efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco.py', {}),
    'PAFPN': ('pafpn/faster-rcnn_r50_pafpn_1x_coco.py', FEW),
    'SOLOv2': ('solov2/solov2-light_r18_fpn_ms-3x_coco.py', {}),
    'Sparse R-CNN': ('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', R18),
    'Deformable DETR': ('deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', R18_DETR),
    'DINO': ('dino/dino-4scale_r50_8xb2-12e_coco.py', R18_DETR),
    'Mask2Former': (
        'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
        dict(backbone=dict(depth=18), panoptic_head=dict(in_channels=[64, 128, 256, 512])),
    ),
}
# Maps below these are not square; the sizes are the smallest that the detector accepts.
# Two images with a map of one position have two values, which a norm makes -1 and 1 whatever they are.
SIZES = {'SSD': (300, 300), 'SSDLite': (320, 320), 'EfficientNet': (128, 128), 'HRNet': (192, 256)}

WITH_MASKS = 'Mask R-CNN', 'Cascade Mask R-CNN', 'SOLOv2', 'Mask2Former'


def merge(cfg, changes):
    for key, value in changes.items():
        if isinstance(value, dict):
            merge(cfg[key], value)
        else:
            cfg[key] = value
    return cfg


def detector(name, changes):
    """As the Runner makes it, with weights of its own where the config has pretrained ones."""
    cfg = merge(mmdet_configs.shipped_model(name), changes)
    if cfg['backbone']['type'] == 'ResNet':
        # A residual branch that ends in zeros has nothing that a gate could act on in the first step.
        cfg['backbone'].update(zero_init_residual=False)
    cfg['data_preprocessor']['batch_augments'] = None  # which may pad to a thousand pixels
    torch.manual_seed(0)
    model = mmdet_configs.build_shipped_model(cfg)
    model.init_weights()
    return model.train() or model


def losses(model, size, with_mask=False):
    for counter in ('iter', 'epoch'):  # YOLOX and RTMDet ask for them
        MessageHub.get_current_instance().update_info(counter, 0)
    torch.manual_seed(1)  # of the samplers, too
    data = demo_mm_inputs(2, [[3, *size]] * 2, num_items=[4, 4], with_mask=with_mask)
    data = model.data_preprocessor(data, True)
    return model.parse_losses(model(**data, mode='loss'))[0]


@pytest.mark.parametrize(
    'family, name, changes',
    [
        *(pytest.param(family, *case, id=family) for family, case in QUICK.items()),
        *(pytest.param(family, *case, id=family, marks=pytest.mark.slow) for family, case in LONG.items()),
    ],
)
def test_every_parameter_learns_in_two_steps(mmdet_scope, family, name, changes):
    model = detector(name, changes)
    data = SIZES.get(family, (96, 128)), family in WITH_MASKS
    sites = identity.named_sites(model)
    before = losses(model, *data).item()
    # As many hidden units as channels: where there are only a few, their ReLU may shut them all.
    attach(
        model,
        dict(at=[site.name for site in sites], block=dict(type='mmattn.CBAM', start='identity', reduction=1)),
    )
    attention = dict(model.attention.named_parameters())
    last = {name for name in attention if '.mlp.3.' in name or '.spatial.bn.' in name}
    assert len(last) == 4 * len(sites)
    # One number for all positions may do nothing: a norm behind the map takes it away.
    mute = {name for name in attention if name.endswith('.spatial.bn.bias')}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)

    loss = losses(model, *data)
    assert loss.item() == before  # the same model, in training too
    loss.backward()
    grads = {name: p.grad for name, p in attention.items()}
    # None would stop DDP.
    assert [name for name, grad in grads.items() if grad is None] == []
    assert [name for name, grad in grads.items() if not torch.isfinite(grad).all()] == []
    assert [name for name in last - mute if not grads[name].any()] == []
    assert [name for name in attention if name not in last and grads[name].any()] == []

    for grad in grads.values():  # equally small steps, or gates of an untrained detector shut for good
        grad /= grad.abs().max().clamp(min=1e-30)
    optimizer.step()
    optimizer.zero_grad()
    losses(model, *data).backward()
    assert [name for name, p in attention.items() if p.grad is None or not torch.isfinite(p.grad).all()] == []
    assert [name for name, p in attention.items() if name not in mute and not p.grad.any()] == []
