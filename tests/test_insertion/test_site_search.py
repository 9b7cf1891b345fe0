"""What is found in detectors of all kinds, held against a real forward pass."""

import re
from collections import Counter

import pytest
import torch
from mmdet.models import FPN, ResNet
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.hub import get_config
from torch import nn

from mmattn import attach, sites
from mmattn.insertion.site import ELEMENT, INPUT
from mmattn.insertion.site_search import find_sites
from tests.test_insertion.models import build, model_cfg

SIZE = (128, 192)
# Config, residual branches (counted in the papers' tables), channels of the stages by number,
# numbers of laterals, top-down maps and outputs.
R50 = {1: 256, 2: 512, 3: 1024, 4: 2048}
FOUND = [
    ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 3 + 4 + 6 + 3, R50, 4, 4, 5),
    ('yolox/yolox_tiny_8xb8-300e_coco', 1 + 3 + 3, {1: 48, 2: 96, 3: 192, 4: 384}, 1, 2, 3),
    ('rtmdet/rtmdet_tiny_8xb32-300e_coco', 1 + 1 + 1, {1: 48, 2: 96, 3: 192, 4: 384}, 1, 2, 3),
    ('swin/retinanet_swin-t-p4-w7_fpn_1x_coco', 0, {2: 192, 3: 384, 4: 768}, 3, 3, 5),
    ('pvt/retinanet_pvt-t_fpn_1x_coco', 0, {2: 128, 3: 320, 4: 512}, 3, 3, 5),
    ('ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco', 10, {3: 96, 4: 1280}, None, 0, 6),
    pytest.param(
        'hrnet/faster-rcnn_hrnetv2p-w18-1x_coco',
        4 + 8 + 48 + 48,
        {1: 18, 2: 36, 3: 72, 4: 144},
        0,
        0,
        5,
        marks=pytest.mark.slow,
    ),
    ('regnet/retinanet_regnetx-800MF_fpn_1x_coco', 1 + 3 + 7 + 5, {1: 64, 2: 128, 3: 288, 4: 672}, 3, 3, 5),
    ('pafpn/faster-rcnn_r50_pafpn_1x_coco', 16, R50, 4, 4, 5),
    ('libra_rcnn/libra-retinanet_r50_fpn_1x_coco', 16, R50, 3, 3, 5),  # FPN, then BFP
    ('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco', 10, {2: 32, 3: 96, 4: 320}, None, 0, 3),
    ('deformable_detr/deformable-detr_r50_16xb2-50e_coco', 16, R50, 3, 0, 4),
    pytest.param(
        'efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco',
        26 - 7,
        {2: 48, 3: 136, 4: 384},
        3,
        3,
        5,
        marks=pytest.mark.slow,
    ),
    pytest.param(
        'resnest/faster-rcnn_s50_fpn_syncbn-backbone+head_ms-range-1x_coco',
        16,
        R50,
        4,
        4,
        5,
        marks=pytest.mark.slow,
    ),
    pytest.param(
        'res2net/faster-rcnn_res2net-101_fpn_2x_coco', 3 + 4 + 23 + 3, R50, 4, 4, 5, marks=pytest.mark.slow
    ),
    pytest.param('nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco', 16, R50, 3, 0, 5, marks=pytest.mark.slow),
    pytest.param(
        'yolo/yolov3_d53_8xb8-320-273e_coco',
        1 + 2 + 8 + 8 + 4,
        {2: 256, 3: 512, 4: 1024},
        None,
        0,
        3,
        marks=pytest.mark.slow,
    ),
    pytest.param('dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco', 16, R50, 4, 4, 5, marks=pytest.mark.slow),
    pytest.param('dyhead/atss_r50_fpn_dyhead_1x_coco', 16, R50, 3, 3, 5, marks=pytest.mark.slow),
]


def shipped(config):
    register_all_modules()
    return MODELS.build(get_config(f'mmdet::{config}.py').model).eval()


def real_maps(model, wanted, image):
    """The real map at each site, by its first or only call."""
    maps, hooks = {}, []
    for site in wanted:
        host = model.get_submodule(site.path)

        def record(module, inputs, output=None, site=site):
            found = inputs[0] if site.position == INPUT else output
            maps[site.name] = found[site.index] if site.position == ELEMENT else found

        register = host.register_forward_pre_hook if site.position == INPUT else host.register_forward_hook
        hooks.append(register(record))
    with torch.no_grad():
        model.extract_feat(image)
    for hook in hooks:
        hook.remove()
    return maps


@pytest.mark.parametrize('config, residual, stages, laterals, topdown, outputs', FOUND)
def test_detectors_have_the_expected_sites(config, residual, stages, laterals, topdown, outputs):
    model = shipped(config)
    table = find_sites(model, SIZE)
    parts = Counter(site.part for site in table.sites)
    assert parts['residual'] == residual
    assert {
        int(name[-1]): table.names[name][0].channels
        for name in table.names
        if re.fullmatch(r'backbone\.stage\d', name)
    } == stages
    for group, number in (('lateral', laterals), ('topdown', topdown), ('output', outputs)):
        if number is not None:
            assert len(table.names.get(f'neck.{group}', ())) == number, group

    special = [
        site
        for site in table.sites
        if site.path.startswith(('backbone', 'neck')) and site.part not in ('module', 'conv')
    ]
    real = real_maps(model, special, torch.rand(1, 3, *SIZE))
    for site in special:
        assert real[site.name].shape == (1, site.channels, *site.size), site
        assert site.stride == SIZE[0] // site.size[0]  # SIZE is divisible by all strides


def test_sites_of_modules_and_heads():
    """Channels and sizes of everything else: FPN, convolutions, and a head that all levels share."""
    model = build(model_cfg(detector='RetinaNet'))
    found = {site.name: site for site in sites(model, SIZE)}
    assert found['backbone.layer1.0'].channels == 64 and found['neck.fpn_convs.0'].part == 'conv'
    shared = found['bbox_head.cls_convs.0']
    assert (shared.channels, shared.size, shared.stride) == (model.bbox_head.feat_channels, None, None)
    assert 'bbox_head.loss_cls' not in found


def test_a_module_that_serves_several_widths_is_refused():

    class Model(nn.Module):
        def __init__(self, act):
            super().__init__()
            self.one, self.two, self.act = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1), act

        def forward(self, x):
            return self.act(self.two(self.act(self.one(x))))

    with pytest.raises(
        ValueError, match="'act': PReLU is called 2 times in a forward pass, with maps of 4, 6 channels"
    ):
        attach(Model(nn.PReLU()), dict(at='act', block=dict(type='mmattn.SE')))
    with pytest.raises(
        ValueError,
        match="'act': ReLU has no weights and is called 2 times in a forward "
        'pass: a block would act in 2 places',
    ):
        attach(Model(nn.ReLU()), dict(at='act', block=dict(type='mmattn.SE')))


def test_backbone_and_neck_by_themselves():
    assert [s.name for s in sites(ResNet(18)) if s.part == 'stage'] == [f'layer{i}' for i in range(1, 5)]
    names = find_sites(FPN([8, 16], 4, num_outs=3)).names
    assert [len(names[name]) for name in ('lateral', 'topdown', 'output')] == [2, 2, 3]


def test_blocks_act_at_every_position():
    """Against a forward pass written out by hand."""
    model = build(model_cfg()).eval()
    rules = [
        dict(at=at, block=dict(type='mmattn.SE'))
        for at in ('backbone.stage4', 'neck.lateral', 'neck.topdown', 'neck.output')
    ]
    stock = build(model_cfg()).eval()
    stock.load_state_dict(model.state_dict())
    attach(model, rules)
    for parameter in model.attention.parameters():
        nn.init.normal_(parameter)
    image = torch.rand(1, 3, 64, 96)
    blocks, neck = model.attention, stock.neck
    with torch.no_grad():
        maps = list(stock.backbone(image))
        maps[3] = blocks['backbone_layer4'](maps[3])
        laterals = [
            blocks[f'neck_lateral_convs_{i}'](conv(x))
            for i, (conv, x) in enumerate(zip(neck.lateral_convs, maps))
        ]
        for i in (3, 2, 1):
            laterals[i - 1] = laterals[i - 1] + nn.functional.interpolate(
                laterals[i], size=laterals[i - 1].shape[2:]
            )
        wanted = [
            conv(blocks[f'neck_topdown_{i}'](x)) for i, (conv, x) in enumerate(zip(neck.fpn_convs, laterals))
        ]
        wanted.append(nn.functional.max_pool2d(wanted[-1], 1, stride=2))
        wanted = [blocks[f'neck_output_{i}'](x) for i, x in enumerate(wanted)]
        found = model.extract_feat(image)
    assert len(found) == 5 and all(torch.equal(a, b) for a, b in zip(found, wanted))


def test_a_map_of_which_nothing_is_made_is_refused():
    """FPN's start_level=1 passes over the first: a block there would have no gradient."""
    model = shipped('pvt/retinanet_pvt-t_fpn_1x_coco')
    rules = [dict(at='backbone.stage[1-4]', block=dict(type='mmattn.SE'))]
    with pytest.raises(ValueError, match="'backbone.stage1': no later layer uses its output"):
        attach(model, rules)
    rules[0]['except_'] = 'backbone.stage1'
    assert list(attach(model, rules).attention) == [f'backbone_stage{i}' for i in (2, 3, 4)]


def test_stages_of_which_nothing_is_made_are_refused():
    """Also where the backbone itself has a module for them."""
    cfg = model_cfg()
    cfg.neck.update(end_level=2, num_outs=3)
    model = build(cfg)
    table = find_sites(model)
    assert [s.name for s in table.sites if s.part == 'stage'] == [f'backbone.layer{i}' for i in (1, 2, 3)]
    for name in ('backbone.layer4', 'backbone.layer4.1', 'backbone.layer4.0.residual'):
        assert table.refused[name].startswith('no later layer uses its output')
    with pytest.raises(ValueError, match='no gradient. Possible nearby: backbone.stage[123], backbone.stage'):
        attach(model, dict(at='backbone.stage4', block=dict(type='mmattn.SE')))


def test_a_video_detector_without_extract_feat():
    model = shipped('mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019')
    parts = Counter(site.part for site in sites(model))
    assert (parts['residual'], parts['stage']) == (16, 4)


@pytest.mark.slow
def test_an_op_that_this_machine_lacks_is_no_obstacle():
    """MMCV has CARAFE for GPUs only, which tensors without data do not need."""
    names = find_sites(shipped('carafe/faster-rcnn_r50_fpn-carafe_1x_coco')).names
    assert [len(names[f'neck.{group}']) for group in ('lateral', 'output')] == [4, 5]


def test_the_stride_of_odd_maps():
    found = {site.name: site for site in sites(build(model_cfg()), (800, 1333)) if site.part == 'output'}
    assert [site.stride for site in found.values()] == [4, 8, 16, 32, 64]
    assert found['neck.output.4'].size == (13, 21)


@pytest.mark.parametrize('channels', [1, 4])
def test_images_need_not_have_three_channels(channels):
    names = find_sites(build(model_cfg(in_channels=channels))).names
    assert [len(names[name]) for name in ('backbone.stage4', 'neck.output')] == [1, 5]
