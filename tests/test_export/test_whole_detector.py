"""A detector and the file that was made of it: the same detections, whatever the size."""

import json

import numpy as np
import onnx
import pytest
import torch
from mmdet.structures import DetDataSample

from mmattn.export import ExportedDetector, check_file
from mmattn.export.agreement import Agreement
from mmattn.export.whole_detector import onnx_bytes, program_bytes


def sample(height, width, scale=1.0):
    return DetDataSample(
        metainfo=dict(
            img_shape=(height, width), ori_shape=(height, width), scale_factor=(scale, scale), img_id=0
        )
    )


def image(height, width):
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


@torch.no_grad()
@pytest.mark.parametrize('height, width', [(96, 96), (64, 160), (75, 50)])
def test_the_same_detections_at_any_size(exported, height, width):
    """As MMDetection's own ``test_step``."""
    _, graph, file = exported
    agreement = Agreement()
    batch = dict(inputs=[image(height, width)], data_samples=[sample(height, width, 0.5)])
    first, second = (
        each.test_step(dict(batch, data_samples=[sample(height, width, 0.5)]))[0].pred_instances
        for each in (graph.model, ExportedDetector(file))
    )
    agreement.add(first, second)
    assert agreement.detections >= 5 and agreement.share == 1, agreement
    assert agreement.corner < 1e-2


def test_a_batch_is_its_images(exported):
    _, _, file = exported
    detector = ExportedDetector(file)
    batch = np.stack([image(96, 128).numpy(), image(97, 129).numpy()[:, :96, :128]]).astype(np.float32)
    dets, labels = detector.session.run(None, {'image': batch})
    assert dets.shape[0] == 2 and dets.shape[:2] == labels.shape and dets.shape[2] == 5
    for i in range(2):
        alone = detector.session.run(None, {'image': batch[i : i + 1]})
        np.testing.assert_allclose(dets[i], alone[0][0], atol=1e-2)
        np.testing.assert_array_equal(labels[i], alone[1][0])
    assert ((labels == -1) == (dets == -1).all(-1)).all()


def test_the_operators_are_onnx_s_own(exported):
    model = onnx.load(exported[2])
    assert {node.domain for node in model.graph.node} <= {'', 'ai.onnx'}
    assert [(each.domain, each.version) for each in model.opset_import] == [('', 18)]


def test_the_file_says_what_it_is(exported):
    cfg, graph, file = exported
    said = json.loads({entry.key: entry.value for entry in onnx.load(file).metadata_props}['mmattn'])
    assert said['classes'] == ['bright', 'dark'] and said['format'] == 1
    assert said['normalize'] == dict(
        inside=True,
        channels='bgr',
        mean=pytest.approx([123.675, 116.28, 103.53]),
        std=pytest.approx([58.395, 57.12, 57.375]),
    )
    assert said['pipeline'] == [dict(type='Resize', scale=[96, 96], keep_ratio=True)]
    assert len(said['attention']['insert']) == 8
    assert said['versions']['torch'] == torch.__version__.partition('+')[0] or said['versions']['torch']


def test_images_of_the_data_agree(exported):
    cfg, graph, file = exported
    agreement = check_file(file, cfg, graph, 2)
    assert agreement.images == 2 and agreement.share == 1, agreement


@pytest.mark.parametrize('exported', ['single_stage'], indirect=True)
def test_training_flags_stay(exported):
    cfg, graph, _ = exported
    graph.model.train()
    graph.model.backbone.layer1.eval()
    before = {name: module.training for name, module in graph.model.named_modules()}
    onnx_bytes(graph, cfg)
    assert {name: module.training for name, module in graph.model.named_modules()} == before
    graph.model.eval()


@pytest.mark.slow
@torch.no_grad()
def test_a_program_of_torch_export(exported, tmp_path):
    cfg, graph, _ = exported
    path = tmp_path / 'a.pt2'
    path.write_bytes(program_bytes(graph, cfg))
    files = {'mmattn.json': ''}
    program = torch.export.load(path, extra_files=files).module()
    assert json.loads(files['mmattn.json'])['classes'] == ['bright', 'dark']
    for height, width in ((160, 160), (175, 250)):
        batch = image(height, width).float().expand(2, -1, -1, -1)
        for ours, theirs in zip(graph(batch), program(batch)):
            torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    'exporter, opset', [('torchscript', 11), ('torchscript', 17), ('dynamo', 18), ('dynamo', 23)]
)
def test_exporters_and_opsets(exported, exporter, opset, tmp_path):
    cfg, graph, _ = exported
    path = tmp_path / 'a.onnx'
    try:
        path.write_bytes(onnx_bytes(graph, cfg, opset, exporter))
    except ValueError as error:
        assert opset == 11 and "--opset 11: MMDetection's RoIAlign needs 16 or more" in str(error)
        return
    try:
        agreement = check_file(str(path), cfg, graph, 2)
    except ValueError as error:  # ONNX Runtime 1.32 has no RoiAlign of opset 22
        assert opset == 23 and 'Export with a lower --opset, or update ONNX Runtime' in str(error)
        return
    assert agreement.share == 1 and agreement.corner < 1e-2, agreement
    assert not any(node.metadata_props for node in onnx.load(path).graph.node)
