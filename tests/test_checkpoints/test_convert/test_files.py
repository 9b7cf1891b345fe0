"""Files: what is written, that a detector takes all of it, and the way back to timm."""

import functools

import pytest
import torch
from mmdet.models import ResNet
from mmengine import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.runner.checkpoint import load_checkpoint
from safetensors.torch import save_file

from mmattn import attach
from mmattn.checkpoints.convert import NotConverted, NotMappable, convert, convert_file, to_timm
from mmattn.checkpoints.convert.source_file import sha256_of
from mmattn.insertion.spec import SPEC_KEY, differences
from mmattn.registry import MODELS
from tests.reference import resnets
from tests.test_checkpoints.test_convert.helpers import peer, randomise, stages


@pytest.fixture(scope='module')
def weights():
    return peer().state_dict()


def test_all_wrappings_of_weights(weights, tmp_path):
    ddp = {f'module.{key}': value for key, value in weights.items()}
    torch.save(dict(arch='se_resnet50', epoch=9, state_dict=ddp), tmp_path / 'wrapped.pth')
    torch.save(dict(model=weights), tmp_path / 'model.pth')
    torch.save(weights, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    save_file({key: value.contiguous() for key, value in weights.items()}, tmp_path / 'a.safetensors')
    for name in ('wrapped.pth', 'model.pth', 'old.pth', 'a.safetensors'):
        converted = convert_file(tmp_path / name, tmp_path / 'out.pth', overwrite=True)
        assert converted.weights.keys() == weights.keys()
    with pytest.raises(FileExistsError):
        convert_file(tmp_path / 'old.pth', tmp_path / 'out.pth')
    with pytest.raises(
        NotConverted, match=r"out.safetensors' is to be written as MMEngine loads it: name it \*.pth"
    ):
        convert_file(tmp_path / 'old.pth', tmp_path / 'out.safetensors')


def test_the_file_says_where_it_comes_from(weights, tmp_path):
    torch.save(weights, tmp_path / 'seresnet18.untrained.pth')
    converted = convert_file(tmp_path / 'seresnet18.untrained.pth', tmp_path / 'out.pth')
    meta = torch.load(tmp_path / 'out.pth')['meta']
    assert meta['converted_from'] | dict(mmattn='') == dict(
        file='seresnet18.untrained.pth',
        sha256=sha256_of(tmp_path / 'seresnet18.untrained.pth'),
        table='timm ResNet with SE or ECA',
        table_version=1,
        model='timm seresnet18',
        mmattn='',
    )
    blocks, norms = 8, len([key for key in weights if 'se.' not in key and 'fc' not in key])
    assert converted.text.startswith(
        f"""source: timm ResNet with SE or ECA, timm seresnet18
same name: {norms}
renamed: {4 * blocks} (with 8 blocks: SE)
dropped on purpose: 2 (the classifier)
missing: 0
unexpected: 0

load_from = '{tmp_path}/out.pth'
model = dict(
    type='mmattn.WithAttention',
    detector='FasterRCNN',  # the type of your detector
"""
    )
    assert converted.text.endswith(meta['fragment'])


def test_a_detector_takes_all_of_it(weights, tmp_path):
    """The lines that the tool prints, pasted under a config of MMDetection's."""
    torch.save(weights, tmp_path / 'a.pth')
    conversion = convert_file(tmp_path / 'a.pth', tmp_path / 'out.pth').conversion
    pasted = torch.load(tmp_path / 'out.pth')['meta']['fragment'].replace('FasterRCNN', 'RPN')
    text = f"_base_ = 'mmdet::_base_/models/rpn_r50_fpn.py'\n{pasted}\n"
    (tmp_path / 'pasted.py').write_text(text + "model['neck'] = dict(in_channels=[64, 128, 256, 512])\n")
    cfg = Config.fromfile(tmp_path / 'pasted.py')
    model = MODELS.build(cfg.model)
    load_checkpoint(model, cfg.load_from)
    found = {key: value for key, value in model.state_dict().items() if key != f'attention.{SPEC_KEY}'}
    expected = {key: value for key, value in conversion.state().items() if key != f'attention.{SPEC_KEY}'}
    assert expected.keys() == {key for key in found if key.startswith(('backbone.', 'attention.'))}
    assert all(found[key].equal(value) for key, value in expected.items())
    assert not differences(conversion.spec(), model.attention.spec)  # else it would warn


def test_nothing_is_written_that_was_not_verified(weights, tmp_path, monkeypatch):
    torch.save(weights, tmp_path / 'a.pth')
    other = peer()
    other.layer3[0].bn1.eps = 0.01
    built = other, ('layer1', 'layer2', 'layer3', 'layer4')
    monkeypatch.setattr('mmattn.checkpoints.convert.compare_stages.build_peer', lambda known: built)
    with pytest.raises(
        NotConverted,
        match=r'of seresnet18: in the four stages by [0-9.]+e-1\d, [0-9.]+e-1\d, ',
    ):
        convert_file(tmp_path / 'a.pth', tmp_path / 'out.pth', compare=True)
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.slow
def test_plugins_compute_the_same():
    attention = [functools.partial(resnets.ECA, kernel_size=k) for k in (3, 5, 5, 7)]
    model = peer('eca', attention, (3, 4, 6, 3), True)
    conversion = convert(model.state_dict())
    cfg = conversion.backbone_config('plugins')
    assert cfg['plugins'] == [
        dict(
            cfg=dict(type='mmattn.ECA', kernel_size=3),
            position='after_conv3',
            stages=(True, False, False, False),
        ),
        dict(cfg=dict(type='mmattn.ECA'), position='after_conv3', stages=(False, True, True, True)),
    ]
    with ROOT_MODELS.switch_scope_and_registry('mmdet') as registry:
        backbone = registry.build(cfg)
    backbone.load_state_dict(conversion.state('plugins', prefix=''))
    backbone.eval()
    for found, expected in zip(stages(backbone), stages(model)):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


# ---- back to timm


def trained(start, reduction=16, block='SE', at='backbone.layer*.*.residual'):
    """A random detector's backbone that was trained here, and its state dict."""
    model = torch.nn.Module()
    model.backbone = ResNet(18)
    if block == 'SE':  # timm has a hidden width of 8 for 64 channels
        rules = [
            dict(at='backbone.layer1.*.residual', block=dict(type='mmattn.SE', reduction=8, start=start)),
            dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.SE', start=start)),
        ]
    else:
        rules = [dict(at=at, block=dict(type=f'mmattn.{block}', start=start))]
    model.forward = lambda x: model.backbone(x)
    attach(model, rules)
    return randomise(model)


@pytest.mark.parametrize('start', ['paper', 'identity'])
def test_back_to_timm(start):
    """timm's gate ends at 1, that of an identity start at 2: the factor goes into the norm, exactly."""
    model = trained(start)
    back = to_timm(dict(state_dict=model.state_dict()))
    assert back.model.name == 'seresnet18' and back.absorbed == 8 * (start == 'identity')
    theirs = resnets.ResNet((2, 2, 2, 2), attention=(resnets.SE,) * 4)
    theirs.fc = torch.nn.Identity()
    theirs.load_state_dict(back.state)
    for found, expected in zip(stages(theirs.eval()), stages(model)):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_back_again_is_the_same_file(weights):
    state = convert(weights).state() | {
        'head.fc.weight': weights['fc.weight'],
        'head.fc.bias': weights['fc.bias'],
    }
    back = to_timm(dict(state_dict=state | {'neck.x': torch.zeros(1)}))
    assert back.dropped == ['neck.x']
    assert back.state.keys() == weights.keys()
    assert all(back.state[key].equal(value) for key, value in weights.items())


def test_what_timm_has_no_place_for(weights):
    state = convert(weights).state()
    narrow = {key: value for key, value in state.items()}
    for i in range(2):
        narrow[f'attention.backbone_layer1_{i}_residual.fc1.weight'] = torch.zeros(4, 64, 1, 1)
    with pytest.raises(
        NotMappable, match=r'the SE in layer1.0 has a hidden width of 4; timm has 8 and biases for 64'
    ):
        to_timm(narrow)
    some = {key: value for key, value in state.items() if 'attention.backbone_layer4_1' not in key}
    with pytest.raises(
        NotMappable, match=r'7 of 8 residual blocks have attention; in timm.s models all have it'
    ):
        to_timm(some)
    with pytest.raises(NotMappable, match=r'the model has attention at attention.neck_output.fc1.weight'):
        to_timm(state | {'attention.neck_output.fc1.weight': torch.zeros(1)})
    with pytest.raises(NotMappable, match="style='caffe'"):
        to_timm(dict(meta=dict(cfg="model = dict(backbone=dict(depth=50, style='caffe'))"), state_dict=state))
    with pytest.raises(NotConverted, match="no weights under 'backbone.', but conv1.weight"):
        to_timm(weights)
    with pytest.raises(
        NotConverted, match='1 weights have no place in the backbone: layer1.0.se1.fc1.weight'
    ):
        to_timm(state | {'backbone.layer1.0.se1.fc1.weight': torch.zeros(1)})
    plugins = {key: value for key, value in state.items() if not key.startswith('attention.')}
    for block in convert(weights).blocks:
        plugins |= {f'backbone.{block.host}.se.{key}': value for key, value in block.weights.items()}
    with pytest.raises(
        NotConverted, match=r'8 blocks are plugins, the first in layer1.0, whose start= no checkpoint'
    ):
        to_timm(plugins)
    assert to_timm(plugins, 'paper').state.keys() == {key for key in weights if not key.startswith('fc.')}
