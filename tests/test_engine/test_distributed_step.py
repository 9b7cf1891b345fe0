"""Two and four processes take the step that one process takes on the same four images.

What equals what: DDP averages the gradients of the processes. RetinaNet divides its losses by the
number of positive anchors of its batch, so the average over two halves is the gradient of the whole
batch when both halves have as many. The images and labels below differ, the boxes do not, and RetinaNet
assigns anchors by boxes alone. Norms that use batch
statistics would see two batches of two in place of one of four, so those in the attention are in
evaluation mode, as ``norm_eval`` has the backbone's.

All is computed in float64. In float32 the gradient has jumps: where two values nearly tie for a
maximum, or an activation nearly vanishes, one rounding sends the gradient to another pixel. Multiplying
the images by 1 + 1e-7 moves some gradients by a hundredth, so no tolerance would tell a fault from that.

Faster R-CNN draws its samples at random, so for it the average of two backward passes in one
process, each with the random state of its twin, is compared.
"""

import sys
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from torch import multiprocessing

from mmattn.engine import prepare_processes
from mmattn.engine.config_model import build_model

BOXES = [[10.0, 12.0, 60.0, 70.0], [50.0, 8.0, 120.0, 90.0]]
IMAGES = 4


def batch(indices):
    """Images with these numbers, out of four; each has pixels and labels of its own."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    inputs, samples = [], []
    for i in indices:
        random = torch.Generator().manual_seed(i)
        inputs.append(torch.randint(0, 256, (3, 128, 128), generator=random).to(torch.uint8))
        boxes = torch.tensor(BOXES)
        sample = DetDataSample(
            metainfo=dict(img_shape=(128, 128), ori_shape=(128, 128), scale_factor=(1.0, 1.0), img_id=i)
        )
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) + i)
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def detector(config):
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    # Untrained, gates are exactly one, and ResNet starts its residual branches, where the attention
    # stands, at zero: move both, so that all are at work.
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.weight.data.uniform_(0.5, 1)
    for parameter in model.attention.parameters():
        parameter.data.add_(torch.randn(parameter.shape) * 0.1)
    model.double().train()
    for module in model.attention.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def nms_of_float64():
    """MMCV has NMS for float32 alone; which boxes it keeps is no gradient's matter."""
    from mmcv import _ext

    nms = _ext.nms
    return mock.patch.object(
        _ext, 'nms', lambda boxes, scores, **options: nms(boxes.float(), scores.float(), **options)
    )


def compute_gradients(wrapped, model, indices, seed):
    """One backward pass, as MMEngine computes the loss."""
    torch.manual_seed(seed)
    data = model.data_preprocessor(batch(indices), True)
    data['inputs'] = data['inputs'].double()
    for sample in data['data_samples']:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.double()
        sample.ignored_instances.bboxes = sample.ignored_instances.bboxes.double()
    with nms_of_float64():
        losses = wrapped(**data, mode='loss')
    model.parse_losses(losses)[0].backward()


def backward(wrapped, model, indices, seed):
    """Gradients by name after one backward pass."""
    compute_gradients(wrapped, model, indices, seed)
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def images_of(rank, count):
    """Numbers of the images of one of ``count`` processes."""
    share = IMAGES // count
    return range(rank * share, (rank + 1) * share)


def join(rank, count, port):
    """Make this process the one of ``count`` with this rank; return the config that its Runner would have."""
    import os

    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(count),
        LOCAL_RANK=str(rank),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
        CUDA_VISIBLE_DEVICES='-1',
    )
    torch.set_num_threads(1)
    cfg = Config(dict(launcher='pytorch', env_cfg=dict()))
    prepare_processes(cfg)
    return cfg


def one_of_many(rank, count, port, config, folder):
    from mmengine.registry import MODEL_WRAPPERS

    cfg = join(rank, count, port)
    model = detector(config)
    wrapped = MODEL_WRAPPERS.build(cfg.model_wrapper_cfg, default_args=dict(device_ids=[rank], module=model))
    assert not wrapped.find_unused_parameters
    gradients = backward(wrapped, model, images_of(rank, count), seed=rank)
    torch.save(gradients, f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def in_processes(count, config, folder, function=one_of_many):
    import socket

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(function, (count, port, config, str(folder)), nprocs=count)
    return [torch.load(folder / f'{rank}.pt') for rank in range(count)]


def average_of_parts(count, config):
    """Gradients of ``count`` backward passes in this process, each with the random state of its twin."""
    parts = []
    for rank in range(count):
        model = detector(config)
        parts.append(backward(model, model, images_of(rank, count), seed=rank))
    return {name: sum(part[name] for part in parts) / count for name in parts[0]}, model


def assert_same(found, expected, model, tolerance=1e-10):
    """Equal up to the order of summation in float64, and every attention parameter has one."""
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in trained if name.startswith('attention.')}
    assert found.keys() == expected.keys() == trained
    for name, gradient in expected.items():
        assert gradient.dtype == torch.float64, name
        largest = gradient.abs().max()
        assert (found[name] - gradient).abs().max() <= tolerance * largest, name
    idle = [name for name in trained if name.startswith('attention.') and not found[name].any()]
    assert not idle, idle


def config_of(request, path):
    return str(request.config.rootpath / 'configs' / path)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    'block, count',
    [('cbam', 2)] + [pytest.param(*c, marks=SLOW) for c in [('cbam', 4), ('se', 2), ('eca', 2)]],
)
@pytest.mark.skipif(sys.platform == 'win32', reason='gloo and spawn as on Linux')
def test_retinanet_parts_equal_the_whole(block, count, request, tmp_path):
    config = config_of(request, f'{block}/retinanet_r18-{block}_fpn_1x_coco.py')
    first, *others = in_processes(count, config, tmp_path)
    # All take one step.
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
    assert_same(first, *average_of_parts(count, config))
    model = detector(config)
    assert_same(first, backward(model, model, range(IMAGES), seed=0), model, tolerance=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize('block, count', [('se', 2), ('cbam', 2), ('cbam', 4), ('eca', 2)])
def test_faster_rcnn_parts_equal_their_average(block, count, request, tmp_path):
    config = config_of(request, f'{block}/faster-rcnn_r18-{block}_fpn_1x_coco.py')
    first, *others = in_processes(count, config, tmp_path)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)
    assert_same(first, *average_of_parts(count, config))
