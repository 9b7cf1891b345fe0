"""Models that are unlike mmdet's: wrapped, compiled, without shapes, with outputs and names of their own."""

from typing import NamedTuple

import pytest
import torch
from mmdet.models import FPN, ResNet
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmattn import attach, detach, sites
from tests.test_blocks.helpers import randomise

SE = dict(type='mmattn.SE', start='identity')


class Pair(NamedTuple):
    fine: Tensor
    coarse: Tensor


class PairBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 16, 3, 2, 1)

    def forward(self, x):
        fine = self.conv1(x)
        return Pair(fine.relu(), self.conv2(fine).relu())


class Detector(nn.Module):
    def __init__(self, backbone, neck=None):
        super().__init__()
        self.backbone, self.neck = backbone, neck

    def forward(self, x):
        features = self.backbone(x)
        return features if self.neck is None else self.neck(features)

    extract_feat = forward


class Parts(nn.Module):
    """Two convolutions called one after the other, under the names given."""

    def __init__(self, first='first', second='second'):
        super().__init__()
        self.add_module(first, nn.Conv2d(3, 4, 1))
        self.add_module(second, nn.Conv2d(4, 4, 1))

    def forward(self, x):
        for child in list(self.children())[:2]:
            x = child(x)
        return x


class Same(nn.Module):
    def forward(self, x):
        return x


def small(depth=18):
    widths = [8 * 2**i * (4 if depth == 50 else 1) for i in range(4)]
    return Detector(ResNet(depth, base_channels=8, stem_channels=8), FPN(widths, 8, 4)).eval()


def test_a_backbone_may_return_a_named_tuple():
    model, x = Detector(PairBackbone()).eval(), torch.randn(1, 3, 32, 64)
    stock = model(x)
    attach(model, dict(at='backbone.stage*', block=dict(type='mmattn.SE')))
    assert [site.index for site in model.attention.claims] == [0, 1]
    out = model(x)
    assert isinstance(out, Pair)
    for block, before, after in zip(model.attention.values(), stock, out):
        assert after.equal(block(before)) and not after.equal(before)


def test_parameters_without_shapes_are_not_given_any():
    model = Parts()
    model.second = nn.LazyConv2d(4, 1)
    for call in (sites, lambda each: attach(each, dict(at='first', block=SE))):
        with pytest.raises(
            ValueError,
            match="its part 'second', LazyConv2d, has parameters without a shape.*run the model once before",
        ):
            call(model)
    x = torch.randn(1, 3, 4, 4)
    out = model(x)  # it could not, with parameters that have shapes and no data
    assert attach(model, dict(at='second', block=SE))(x).equal(out)


def test_torchscript_is_refused():
    with pytest.raises(TypeError, match="its part 'backbone' is compiled by TorchScript"):
        sites(Detector(torch.jit.script(nn.Conv2d(3, 4, 1))))


@pytest.mark.parametrize('function', [sites, lambda model: attach(model, dict(at='first', block=SE))])
def test_what_is_no_model_is_refused(function):
    with pytest.raises(TypeError, match="an nn.Module; got 'FasterRCNN'"):
        function('FasterRCNN')


@pytest.mark.parametrize('size', [64, (0, 64), (-64, 64), (64, 64, 3), (64.0, 64.0)])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ValueError, match=r'size is \(height, width\), two positive integers; got '):
        sites(Parts(), size)


@pytest.mark.parametrize(
    'wrap',
    [nn.DataParallel, lambda model: torch.compile(model, backend='eager')],
    ids=['DataParallel', 'compile'],
)
def test_wrapped_models_are_shown_and_refused(wrap):
    """DDP would not reduce the gradients of attention that comes after it."""
    model = wrap(small())
    assert sum(site.part == 'stage' for site in sites(model)) == 4
    with pytest.raises(ValueError, match='attach to the model itself, before it is wrapped'):
        attach(model, dict(at='**.residual', block=SE))


def test_distributed_data_parallel_is_refused(tmp_path):
    torch.distributed.init_process_group('gloo', f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match='^MMDistributedDataParallel wraps a model'):
            attach(MMDistributedDataParallel(Parts()), dict(at='module.first', block=SE))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    'depth, part, whole, again',
    [
        (18, 'backbone', 'backbone.layer4.1.residual', 'layer4.1.residual'),
        (50, 'backbone', 'backbone.layer4.1.residual', 'layer4.1.residual'),
        (18, 'neck', 'neck.output.0', 'output.1'),
        (18, 'neck', 'neck.topdown.0', 'output.1'),
    ],
)
def test_a_part_of_a_model_with_attention_is_refused(depth, part, whole, again):
    """Its detach() would take that of the model."""
    model, x = small(depth), torch.randn(1, 3, 64, 64)
    stock = model(x)
    randomise(attach(model, dict(at=whole, block=dict(type='mmattn.SE'))).attention)
    before = model(x)
    with pytest.raises(ValueError, match='a part of a model with attention, which has a block at .*: detach'):
        attach(model.get_submodule(part), dict(at=again, block=SE))
    assert all(a.equal(b) for a, b in zip(model(x), before))
    assert all(a.equal(b) for a, b in zip(detach(model)(x), stock))


def test_names_that_a_container_has_for_itself():
    model = Parts('blocks', 'items')
    for name in ('blocks', 'items'):
        with pytest.raises(ValueError, match=f"'{name}' would be 'attention.{name}', which a container"):
            attach(model, dict(at=name, block=SE))
    model = attach(Detector(model), dict(at='backbone.blocks', block=SE))
    assert list(model.attention) == ['backbone_blocks']


@pytest.mark.parametrize(
    'changed, name', [('backbone.layer4.1', "'backbone.layer4.1.residual'"), ('', 'the model')]
)
def test_detach_after_a_change_of_class(changed, name):
    model, x = small(), torch.randn(1, 3, 64, 64)
    stock = model(x)
    attach(model, dict(at='backbone.layer4.*.residual', block=dict(type='mmattn.SE')))
    module = model.get_submodule(changed)
    module.register_parameter('scale', nn.Parameter(torch.ones(1)))
    parametrize.register_parametrization(module, 'scale', Same())
    before = model(x)
    with pytest.raises(ValueError, match=f'the class of {name} has been changed since.*undo that before'):
        detach(model)
    assert all(a.equal(b) for a, b in zip(model(x), before))  # all or nothing
    parametrize.remove_parametrizations(module, 'scale')
    assert all(a.equal(b) for a, b in zip(detach(model)(x), stock)) and type(model) is Detector


def test_the_stride_of_the_smallest_maps():
    """Rounded up at each level: 800, 400, ..., 13, 7."""
    model = small()
    model.neck.num_outs = 6
    found = [(s.size, s.stride) for s in sites(model, (800, 1344)) if s.part == 'output']
    assert found[-1] == ((7, 11), 128)
    assert [stride for _, stride in found] == [4, 8, 16, 32, 64, 128]
