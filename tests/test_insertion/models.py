"""Small detectors from mmdet's own configs."""

import torch
from mmengine.hub import get_config
from mmengine.registry import MODELS, init_default_scope

CONFIGS = {
    'FasterRCNN': 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'RetinaNet': 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
}
WIDTHS = {
    18: (64, 128, 256, 512),
    34: (64, 128, 256, 512),
    50: (256, 512, 1024, 2048),
    101: (256, 512, 1024, 2048),
}


def model_cfg(detector='FasterRCNN', depth=18, insert=None, **backbone):
    """mmdet's config of that detector without the download of pretrained weights."""
    cfg = get_config(CONFIGS[detector]).model
    # Without zero_init_residual, which would hide what is done on a residual branch.
    cfg.backbone.update({'depth': depth, 'init_cfg': None, 'zero_init_residual': False, **backbone})
    cfg.neck.in_channels = list(WIDTHS[depth])
    if insert is not None:
        cfg.update(type='mmattn.WithAttention', detector=detector, insert=insert)
    return cfg


def narrow(cfg):
    """The same with a fourth of the backbone's channels, and few in neck and heads: fast."""
    cfg.backbone.update(base_channels=16, stem_channels=16)
    cfg.neck.update(in_channels=[width // 4 for width in cfg.neck.in_channels], out_channels=32)
    for head in (cfg.get('bbox_head'), cfg.get('rpn_head')):
        if head:
            head.update(in_channels=32, feat_channels=32)
            if 'stacked_convs' in head:
                head.stacked_convs = 1
    if 'roi_head' in cfg:
        cfg.roi_head.bbox_roi_extractor.out_channels = 32
        cfg.roi_head.bbox_head.update(in_channels=32, fc_out_channels=32)
    return cfg


def build(cfg, seed=0):
    """As the Runner does: build, then init_weights."""
    init_default_scope('mmdet')
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def everywhere(block='mmattn.CBAM', start='identity', **options):
    """Rules for every residual branch and the neck."""
    return [
        dict(at=at, block=dict(type=block, start=start, **options))
        for at in ('backbone.layer[1-4].*.residual', 'neck.lateral_convs.*', 'neck.fpn_convs.*')
    ]


def features(model, size=(70, 90), seed=0):
    generator = torch.Generator().manual_seed(seed)
    dtype = next(model.parameters()).dtype
    return model.extract_feat(torch.randn(2, 3, *size, generator=generator).to(dtype))
