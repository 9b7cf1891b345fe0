"""A pruned model is built from its config, and refuses what is not its own."""

import pytest
import torch

from mmattn.insertion.spec import differences, rules_of
from mmattn.insertion.widths import set_widths, widths_of
from tests.test_insertion.models import build, features, model_cfg, narrow

RULE = dict(at='backbone.layer4.*.residual', block=dict(type='mmattn.SE', start='identity'))
WIDTHS = {
    'backbone.layer4.0.conv1': [100, 64],
    'backbone.layer4.0.bn1': 100,
    'backbone.layer4.0.conv2': [90, 100],
    'backbone.layer4.0.bn2': 90,
    'backbone.layer4.0.downsample.0': [90, 64],
    'backbone.layer4.0.downsample.1': 90,
    'backbone.layer4.1.conv1': [128, 90],
    'backbone.layer4.1.conv2': [90, 128],
    'backbone.layer4.1.bn2': 90,
    'neck.lateral_convs.2.conv': [32, 90],
    'neck.fpn_convs.3.conv': [32, 90],
    'attention.backbone_layer4_0_residual': 90,
    'attention.backbone_layer4_1_residual': 90,
}


def with_widths(widths=WIDTHS, insert=(RULE,)):
    return narrow(model_cfg('RetinaNet', insert=list(insert))) | dict(widths=widths)


def test_a_config_with_widths_builds_the_pruned_model():
    model = build(with_widths())
    assert widths_of(model).items() >= WIDTHS.items()
    assert model.backbone.layer4[1].conv2.weight.shape == (90, 128, 3, 3)
    assert model.attention['backbone_layer4_0_residual'].fc1.weight.shape == (
        8,
        90,
        1,
        1,
    )  # 128 // 16 as before
    assert all(each.isfinite().all() for each in features(model.eval()))
    again = build(with_widths(), seed=1)
    again.load_state_dict(model.state_dict())
    assert all(a.equal(b) for a, b in zip(features(again.eval()), features(model)))
    for entry in model.attention.spec['insert']:
        assert entry['channels'] == 90


def test_attention_of_a_part_records_its_widths_too():
    cfg = narrow(model_cfg('RetinaNet'))
    block = dict(RULE, at='layer4.*.residual')
    cfg.backbone.update(type='mmattn.WithAttention', detector='mmdet.ResNet', insert=[block])
    widths = {
        path.replace('attention.backbone_', 'backbone.attention.'): width for path, width in WIDTHS.items()
    }
    model = set_widths(build(cfg), widths)
    assert [entry['channels'] for entry in model.backbone.attention.spec['insert']] == [90, 90]


def test_a_model_without_attention_is_pruned_by_its_own_type():
    widths = {path: width for path, width in WIDTHS.items() if not path.startswith('attention')}
    cfg = narrow(model_cfg('RetinaNet'))
    cfg.update(type='mmattn.Pruned', detector='RetinaNet', widths=widths)
    model = build(cfg)
    assert widths_of(model).items() >= widths.items() and not hasattr(model, 'attention')


def test_depthwise_convolutions_and_group_norms_have_widths_too():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 3, groups=8), torch.nn.GroupNorm(2, 8)
    )
    set_widths(model, {'0': [6, 3], '1': [6, 6], '2': 6})
    assert model[1].groups == 6 and model[2].num_channels == 6
    assert model(torch.rand(2, 3, 5, 5)).shape == (2, 6, 3, 3)
    grouped = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, groups=2))
    assert set_widths(grouped, {'0': [4, 6]})(torch.rand(2, 6, 5, 5)).shape == (2, 4, 3, 3)


@pytest.mark.parametrize(
    ('widths', 'text'),
    [
        (
            {'backbone.layer5.0.conv1': [1, 1]},
            "names 'backbone.layer5.0.conv1', which is no layer.*nearest is",
        ),
        ({'backbone.layer4.0.conv1': [200, 64]}, r'is \[200, 64\], but the layer.*has \[128, 64\]'),
        ({'backbone.layer4.0.conv1': 20}, r'is 20, but the layer'),
        ({'backbone.layer4.0.bn1': 0}, 'is 0, but the layer'),
        ({'backbone.layer4.0.bn1': '10'}, "is '10', but the layer"),
        ([1], 'widths is a dict'),
    ],
)
def test_widths_of_another_model_are_refused(widths, text):
    with pytest.raises((ValueError, TypeError), match=text):
        build(with_widths(widths))


def test_a_pruned_checkpoint_says_so_where_it_does_not_fit():
    pruned, whole = build(with_widths()), build(narrow(model_cfg('RetinaNet', insert=[RULE])))
    with pytest.raises(
        ValueError, match="at 'backbone.layer4.0.residual' was pruned to 90 channels.*prune.py"
    ):
        rules_of(pruned.attention.spec)
    (found,) = differences(pruned.attention.spec, whole.attention.spec)
    assert (
        'blocks differ at 2 sites' in found
        and "the checkpoint has dict(type='mmattn.SE', channels=90)" in found
    )
    assert not differences(pruned.attention.spec, build(with_widths()).attention.spec)
