"""The first command on one's own data: pretrained weights, without torchvision and without a network."""

import os
import subprocess
import sys

import pytest
import torch
from mmdet.models import ResNet
from mmengine.runner.checkpoint import save_checkpoint

from mmattn import engine
from mmattn.checkpoints.pretrained import NotFetched
from tests.squares import as_arguments, small, write_squares

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'


@pytest.fixture(autouse=True)
def offline(in_project, tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')


@pytest.fixture(scope='module')
def squares(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp('data') / 'squares', train=4, val=2)


NARROW = {
    'model.backbone.base_channels': 16,
    'model.backbone.stem_channels': 16,
    'model.neck.in_channels': [16, 32, 64, 128],
}


def cache(tmp_path, **width):
    """Put weights where PyTorch keeps what it has downloaded."""
    torch.manual_seed(0)
    weights = ResNet(18, **width).state_dict()
    folder = tmp_path / 'cache' / 'hub' / 'checkpoints'
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / 'resnet18-f37072fd.pth')
    return weights


def options(**more):
    """A short training with the pretrained weights of the config, whose first stage stays frozen."""
    found = small(train_cfg__max_epochs=1, train_cfg__val_interval=2)
    for key in ('init_cfg', 'frozen_stages', 'norm_eval'):
        del found[f'model.backbone.{key}']
    return found | {key.replace('__', '.'): value for key, value in more.items()}


def trained(squares, work_dir, **more):
    engine.train(CONFIG, str(work_dir), data_root=str(squares), cfg_options=options(**more) | NARROW)
    return torch.load(work_dir / 'epoch_1.pth', weights_only=False)['state_dict']


def test_with_the_weights_in_the_cache(squares, tmp_path):
    weights = cache(tmp_path)
    command = [
        sys.executable,
        'tools/train.py',
        CONFIG,
        '--data-root',
        squares,
        '--work-dir',
        tmp_path / 'work',
    ]
    done = subprocess.run([*command, *as_arguments(options())], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    state = torch.load(tmp_path / 'work' / 'epoch_1.pth', weights_only=False)['state_dict']
    assert state['backbone.conv1.weight'].equal(weights['conv1.weight'])
    assert not state['backbone.layer4.0.conv1.weight'].equal(weights['layer4.0.conv1.weight'])


def test_without_a_network_it_ends_before_anything_is_built(squares, tmp_path):
    with pytest.raises(NotFetched) as error:
        trained(squares, tmp_path / 'work')
    said = str(error.value)
    assert str(tmp_path / 'cache' / 'hub' / 'checkpoints' / 'resnet18-f37072fd.pth') in said
    assert '--cfg-options model.backbone.init_cfg.checkpoint=FILE' in said
    assert not (tmp_path / 'work').exists()
    with pytest.raises(
        FileNotFoundError, match=r"no file 'none.pth' .*\(model.backbone.init_cfg.checkpoint\)"
    ):
        trained(squares, tmp_path / 'work', model__backbone__init_cfg__checkpoint='none.pth')


@pytest.fixture(scope='module')
def start(squares, tmp_path_factory, request):
    """A checkpoint of the whole detector."""
    work_dir = tmp_path_factory.mktemp('start')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(request.config.rootpath)
        trained(squares, work_dir, model__backbone__init_cfg=None)
    return str(work_dir / 'epoch_1.pth')


def test_what_is_loaded_over_is_not_fetched_and_changes_nothing(squares, start, tmp_path):
    without = trained(squares, tmp_path / 'without', load_from=start)
    assert not os.path.exists(tmp_path / 'cache' / 'hub' / 'checkpoints' / 'resnet18-f37072fd.pth')
    cache(tmp_path, base_channels=16, stem_channels=16)
    fetched = trained(squares, tmp_path / 'fetched', load_from=start)
    assert without.keys() == fetched.keys()
    assert all(value.equal(fetched[key]) for key, value in without.items())


def test_resume_fetches_nothing(squares, start, tmp_path):
    runner = engine.train(
        CONFIG,
        str(tmp_path / 'again'),
        data_root=str(squares),
        cfg_options=options() | NARROW | {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 3},
        resume=start,
    )
    assert runner.epoch == 2


def test_a_checkpoint_of_another_backbone_leaves_the_weights_to_be_fetched(squares, start, tmp_path):
    whole = torch.load(start, weights_only=False)['state_dict']
    part = {key: value for key, value in whole.items() if not key.startswith('backbone.layer4.')}
    save_checkpoint(dict(state_dict=part, meta={}), str(tmp_path / 'part.pth'))
    with pytest.raises(NotFetched, match='resnet18-f37072fd.pth'):
        trained(squares, tmp_path / 'work', load_from=str(tmp_path / 'part.pth'))


@pytest.mark.parametrize('key', ['load_from', 'model.backbone.init_cfg.checkpoint'])
def test_a_checkpoint_of_another_network_is_refused(squares, tmp_path, key):
    file = str(tmp_path / 'other.pth')
    torch.save({'backbone.conv9.weight': torch.zeros(3)}, file)
    with pytest.raises(ValueError) as error:
        engine.train(
            CONFIG,
            str(tmp_path / 'work'),
            data_root=str(squares),
            cfg_options=options() | NARROW | {key: file},
        )
    assert str(error.value).startswith(f"'{file}' ({key}) has none of the ")
    assert not list((tmp_path / 'work').glob('*.pth'))
