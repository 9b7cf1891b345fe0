"""`timm://NAME` in an init_cfg: from the cache, or a message that says which file to put where."""

import pytest
import torch
from mmengine import Config
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from mmattn.checkpoints.convert import NotMappable
from mmattn.checkpoints.pretrained import NotFetched, cached_file, load_checkpoints, url_of
from mmattn.registry import MODELS
from tests.test_checkpoints.test_convert.helpers import peer

ADDRESS = 'timm://seresnet18.mine_in1k'


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch, tmp_path):
    MODELS.get('SE')  # imports what registers the scheme, as any config with a type of ours does
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv('HF_HOME', str(tmp_path / 'hf'))
    monkeypatch.delenv('HF_HUB_CACHE', raising=False)
    return tmp_path


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(peer().state_dict(), path)


@pytest.mark.parametrize(
    'place',
    [
        'torch/hub/checkpoints/seresnet18.mine_in1k.safetensors',
        'hf/hub/models--timm--seresnet18.mine_in1k/snapshots/0a1b/model.safetensors',
    ],
)
def test_from_both_caches(place, empty_caches):
    put(empty_caches / place)
    with load_checkpoints():
        state = CheckpointLoader.load_checkpoint(ADDRESS, map_location='cpu')['state_dict']
    assert state['layer1.0.conv1.weight'].shape == (64, 64, 3, 3)
    assert state['attention.layer1_0_residual.fc1.weight'].shape == (8, 64, 1, 1)


def test_into_a_backbone(empty_caches):
    """As torchvision://resnet50 is: without a prefix."""
    put(empty_caches / 'torch/hub/checkpoints/seresnet18.mine_in1k.safetensors')
    from mmdet.models import ResNet

    backbone = ResNet(18, init_cfg=dict(type='Pretrained', checkpoint=ADDRESS))
    backbone.init_weights()
    theirs = peer().state_dict()
    assert all(value.equal(theirs[key]) for key, value in backbone.state_dict().items())


def test_into_a_backbone_with_attention(empty_caches):
    """With attention in the backbone, its state dict has just these names."""
    put(empty_caches / 'torch/hub/checkpoints/seresnet18.mine_in1k.safetensors')
    state = CheckpointLoader.load_checkpoint(ADDRESS)['state_dict']
    insert = [
        dict(at='layer1.*.residual', block=dict(type='mmattn.SE', reduction=8)),
        dict(at='layer[2-4].*.residual', block=dict(type='mmattn.SE')),
    ]
    backbone = MODELS.build(
        dict(type='mmattn.WithAttention', detector='mmdet.ResNet', insert=insert, depth=18)
    )
    backbone.load_state_dict(state)
    with load_checkpoints():
        again = CheckpointLoader.load_checkpoint('timm://seresnet18.mine_in1k?attention')['state_dict']
    assert again.keys() == state.keys()


def test_without_a_network(empty_caches, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', no_network)
    with pytest.raises(NotFetched) as caught:
        CheckpointLoader.load_checkpoint(ADDRESS)
    path = empty_caches / 'torch/hub/checkpoints/seresnet18.mine_in1k.safetensors'
    assert (
        'download https://huggingface.co/timm/seresnet18.mine_in1k/resolve/main/model.safetensors elsewhere '
        f"and put it there as '{path}'"
    ) in str(caught.value)
    put(path)
    assert CheckpointLoader.load_checkpoint(ADDRESS)['meta'] == dict(converted_from='seresnet18.mine_in1k')


def test_names_are_checked_before_anything_is_fetched():
    with pytest.raises(NotMappable, match=r"timm's seresnet50t cannot be converted: its stem is tiered"):
        url_of('timm://seresnet50t.a1_in1k')
    with pytest.raises(ValueError, match=r"'seresnet5' is no model that timm has here; nearest: seresnet"):
        url_of('timm://seresnet5.a1_in1k')
    with pytest.raises(
        ValueError, match=r'lacks the tag of its weights. timm has seresnet50.a1_in1k, seresnet50.a2'
    ):
        url_of('timm://seresnet50')
    with pytest.raises(ValueError, match=r"after '\?' stands attention or plugins"):
        CheckpointLoader.load_checkpoint('timm://seresnet50.a1_in1k?here')


def test_other_addresses_are_cached_as_before(empty_caches):
    assert cached_file(url_of('torchvision://resnet50')).startswith(
        str(empty_caches / 'torch/hub/checkpoints/resnet50-')
    )


def test_by_the_init_cfg_of_a_backbone(empty_caches):
    """The sites of a detector get the blocks, though the file names no detector."""
    put(empty_caches / 'torch/hub/checkpoints/seresnet18.mine_in1k.safetensors')
    insert = [
        dict(at='backbone.layer1.*.residual', block=dict(type='mmattn.SE', reduction=8)),
        dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.SE')),
    ]
    backbone = dict(type='mmdet.ResNet', depth=18, init_cfg=dict(type='Pretrained', checkpoint=ADDRESS))
    (empty_caches / 'rpn.py').write_text("_base_ = 'mmdet::_base_/models/rpn_r50_fpn.py'")
    rpn = Config.fromfile(empty_caches / 'rpn.py').model
    rpn.neck.in_channels = [64, 128, 256, 512]
    model = MODELS.build(
        dict(rpn, type='mmattn.WithAttention', detector='mmdet.RPN', insert=insert, backbone=backbone)
    )
    model.init_weights()
    theirs = peer().state_dict()
    for site in model.attention.claims:
        block, name = model.attention[site.key], site.path.removeprefix('backbone.')
        assert all(value.equal(theirs[f'{name}.se.{key}']) for key, value in block.state_dict().items())
    assert model.backbone.layer4[1].conv2.weight.equal(theirs['layer4.1.conv2.weight'])
