"""The table of sites, and what a block costs there."""

import json

import pytest
from mmdet.models import ResNet
from torch import nn

from mmattn import attach
from mmattn.blocks import CBAM, ECA, SE
from mmattn.cost import block_cost, group_similar, site_rows, without_plain_modules
from mmattn.insertion.globs import glob_match


@pytest.mark.parametrize('channels, height, width', [(64, 25, 42), (256, 7, 9)])
def test_costs_by_hand(channels, height, width):
    """Parameters by the papers' formulas; operations written out, gates included."""
    area, hidden = height * width, channels // 16
    mlp = 2 * channels * hidden  # two layers, weights
    se = block_cost(SE, channels, (height, width))
    assert se.parameters == mlp + channels + hidden
    # Pool and multiply once over the map; two layers with biases, ReLU and sigmoid on vectors.
    assert se.ops == 2 * channels * area + mlp + 2 * (hidden + channels)
    kernel = block_cost(ECA, channels, (height, width)).parameters
    assert kernel == ECA(channels).conv.kernel_size[0]
    eca = block_cost(ECA, channels, (height, width)).ops
    assert eca == 2 * channels * area + channels * kernel + channels
    cbam = block_cost(CBAM, channels, (height, width))
    assert cbam.parameters == se.parameters + 2 * 49 + 2
    # At least: two pools and two gates over the map, two MLP passes, a 7x7 convolution of two maps.
    least = 6 * channels * area + 2 * mlp + 98 * area
    assert least < cbam.ops < least + 9 * (channels + area)


def test_blocks_that_need_more_than_channels_are_refused():
    for name, lacking in (('Compose', "'blocks'"), ('SKConv', "'out_channels'"), ('External', "'module'")):
        with pytest.raises(ValueError, match=f'the cost of {name} depends on {lacking}; costs can be shown'):
            site_rows(ResNet(18), blocks=[name])
    assert site_rows(ResNet(18), ['layer4'], blocks=['TemporalAttention'])[0].costs['TemporalAttention'].ops


def test_cost_takes_no_memory():
    assert block_cost(SE, 4096, (16384, 16384)).ops > 2 * 4096 * 16384**2  # a map of 4 TiB


def test_rows_tell_what_a_rule_matches():
    model = ResNet(50)
    rows = without_plain_modules(site_rows(model, blocks=['SE']))
    table = group_similar(rows)
    assert [(row.at, row.sites) for row in table if row.site.part == 'residual'] == [
        ('layer1.[0-2].residual', 3),
        ('layer2.[0-3].residual', 4),
        ('layer3.[0-5].residual', 6),
        ('layer4.[0-2].residual', 3),
    ]
    assert sum(row.sites for row in table) == len(rows) == 20
    for row in table:
        assert sum(glob_match(row.at, each.at) for each in rows) == row.sites
    attach(model, [dict(at=row.at, block=dict(type='mmattn.ECA')) for row in table])
    assert len(model.attention) == 20
    assert {row.blocks for row in without_plain_modules(site_rows(model))} == {('ECA',)}


def test_plain_modules_that_hold_a_block_are_shown():
    backbone = attach(ResNet(18), dict(at='layer2.0', block=dict(type='mmattn.SE')))
    assert 'layer2.0' in [row.at for row in without_plain_modules(site_rows(backbone, blocks=[]))]
    assert 'layer2.0' not in [row.at for row in without_plain_modules(site_rows(ResNet(18), blocks=[]))]


def test_more_than_nine_alike_share_a_star():
    rows = group_similar(without_plain_modules(site_rows(ResNet(101), ['layer3.*.residual'], blocks=[])))
    assert [(row.at, row.sites) for row in rows] == [('layer3.*.residual', 23)]


def test_groups_are_split_where_they_differ():
    backbone = attach(ResNet(18), dict(at='layer2.0.residual', block=dict(type='mmattn.SE')))
    rows = group_similar(site_rows(backbone, ['layer2.*.residual'], blocks=[]))
    assert [(row.at, row.blocks) for row in rows] == [
        ('layer2.0.residual', ('SE',)),
        ('layer2.1.residual', ()),
    ]


def test_globs_without_a_place_are_errors():
    with pytest.raises(ValueError, match="no site matches 'layer9'; nearest: layer"):
        site_rows(ResNet(18), ['layer9'])
    with pytest.raises(ValueError, match="'layer1.0.bn1' does, but a norm is replaced by SyncBN"):
        site_rows(ResNet(18), ['layer1.0.bn1'])
    with pytest.raises(KeyError, match="'mmattn.SEE' is not registered; did you mean 'mmattn.SE'"):
        site_rows(ResNet(18), blocks=['SEE'])


def test_a_model_that_cannot_run_without_data_has_no_sizes():

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, x):
            return self.conv(x) if x.sum().item() > 0 else x

    (row,) = site_rows(Model())
    assert (row.at, row.site.channels, row.site.size, set(row.costs.values())) == ('conv', 8, None, {None})


@pytest.mark.usefixtures('in_project')
def test_tool(run_tool):
    config = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'
    found = run_tool('sites.py', config, 'neck.output', '--shape', '416', '--json')
    assert found.code == 0, found.err
    rows = json.loads(found.out)
    assert [(row['at'], row['channels'], row['stride'], row['size']) for row in rows] == [
        ('neck.output.0', 96, 8, [52, 52]),
        ('neck.output.1', 96, 16, [26, 26]),
        ('neck.output.2', 96, 32, [13, 13]),
    ]
    assert rows[0]['costs']['SE']['parameters'] == sum(p.numel() for p in SE(96).parameters())


@pytest.mark.slow
@pytest.mark.usefixtures('in_project')
def test_tool_finds_a_student_and_its_teacher(run_tool):
    found = run_tool(
        'sites.py',
        'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
        '--json',
        'student.backbone.stage4',
        '--blocks',
        'SE',
        '--each',
        'teacher.neck.output',
    )
    assert found.code == 0, found.err
    assert [row['at'] for row in json.loads(found.out)] == [
        'student.backbone.stage4',
        *(f'teacher.neck.output.{i}' for i in range(5)),
    ]


@pytest.mark.slow
@pytest.mark.usefixtures('in_project')
def test_tool_table_and_errors(run_tool):
    found = run_tool('sites.py', 'configs/retinanet/retinanet_r18_fpn_1x_coco.py')
    assert found.code == 0, found.err
    assert 'backbone.layer4.[0-1].residual' in found.out
    assert 'plain convolutions and other modules: --all' in found.out
    assert 'rpn_head' not in found.out and 'INFO' not in found.out
    wrong = run_tool('sites.py', 'configs/retinanet/retinanet_r18_fpn_1x_coco.py', 'neck.outputs')
    assert wrong.code == 2 and wrong.err.splitlines()[-1].startswith(
        "sites.py: no site matches 'neck.outputs'; nearest: neck.output"
    )


@pytest.mark.slow
@pytest.mark.usefixtures('in_project')
@pytest.mark.parametrize(
    'args, text',
    [
        (
            ['nope.py'],
            "sites.py: no model was built from nope.py: FileNotFoundError: no config file 'nope.py'",
        ),
        (
            ['configs/retinanet/retinanet_r18_fpn_1x_coco.py', '--cfg-options', 'model.backbone.depth=19'],
            'KeyError: invalid depth 19',
        ),
        (
            ['configs/retinanet/retinanet_r18_fpn_1x_coco.py', '--shape', '0'],
            "--shape takes height and width, as 320 480 or 320x480, or one number for both; got '0'",
        ),
    ],
)
def test_tool_says_what_is_wrong(args, text, run_tool):
    wrong = run_tool('sites.py', *args)
    assert wrong.code and text in wrong.err and 'Traceback' not in wrong.err
