"""Probe of tools/doctor.py: does MMEngine find a config of MMDetection by its name?"""

from mmengine.config import Config


def probe() -> dict:
    """Read a config that has one as its base; return the type of its detector."""
    base = "_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'\n"
    return dict(detector=Config.fromstring(base, '.py').model.type)
