"""Shared by the tests of exporting: two small detectors as files, exported once."""

import pytest
import torch

from mmattn.export import export_file
from tests.squares import CLASSES, SIZE

SHAPES = 'configs/shapes/faster-rcnn_r18-cbam_fpn_shapes.py'


def small_faster_rcnn(squares):
    """Options that make the config of the shapes a detector of the squares, narrower still."""
    options = {
        'model.backbone.base_channels': 8,
        'model.backbone.stem_channels': 8,
        'model.neck.in_channels': [8, 16, 32, 64],
        'model.roi_head.bbox_head.num_classes': len(CLASSES),
        'model.roi_head.bbox_head.reg_class_agnostic': False,
        'model.roi_head.bbox_head.fc_out_channels': 16,
        'model.test_cfg.rpn.nms_pre': 60,
        'model.test_cfg.rpn.max_per_img': 30,
        'model.test_cfg.rcnn.max_per_img': 20,
        'test_dataloader.dataset.metainfo': dict(classes=CLASSES),
        'test_dataloader.dataset.pipeline.1.scale': (SIZE, SIZE),
    }
    return {**options, 'test_dataloader.num_workers': 0, 'test_dataloader.persistent_workers': False}


@pytest.fixture(scope='package')
def two_stage(squares, tmp_path_factory, request):
    """Config and checkpoint of an untrained Faster R-CNN of the squares, with CBAM."""
    from mmattn.engine import build_model, load_config

    folder = tmp_path_factory.mktemp('two_stage')
    cfg = load_config(str(request.config.rootpath / SHAPES), str(squares), small_faster_rcnn(squares))
    cfg.dump(folder / 'two_stage.py')
    torch.manual_seed(0)
    state = build_model(str(folder / 'two_stage.py')).state_dict()
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=state, meta=meta), folder / 'two_stage.pth')
    return str(folder / 'two_stage.py'), str(folder / 'two_stage.pth')


@pytest.fixture(scope='package')
def single_stage(detectors):
    """Config and checkpoint of an untrained RetinaNet of the squares, with CBAM."""
    return str(detectors / 'detector.py'), str(detectors / 'detector.pth')


@pytest.fixture(scope='package', params=['single_stage', 'two_stage'])
def exported(request, tmp_path_factory):
    """Config, graph and file of each of the two."""
    file = str(tmp_path_factory.mktemp('exported') / f'{request.param}.onnx')
    cfg, graph = export_file(*request.getfixturevalue(request.param), file)
    return cfg, graph, file
