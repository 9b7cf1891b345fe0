"""The data root of every config can be set from outside."""

import os

import pytest
from mmengine.config import Config

from mmattn.engine import load_config

OURS = 'configs/faster_rcnn/faster-rcnn_r18_fpn_1x_coco.py'
STOCK = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'


@pytest.fixture(autouse=True)
def _in_project(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)


def roots(cfg):
    return {cfg[f'{part}_dataloader'].dataset.data_root for part in ('train', 'val', 'test')} | {
        cfg[f'{part}_evaluator'].ann_file.replace('annotations/instances_val2017.json', '')
        for part in ('val', 'test')
    }


def test_the_default_data_root_is_that_of_the_config():
    assert roots(load_config(OURS)) == {'data/coco/'}


@pytest.mark.parametrize('config', [OURS, STOCK])
@pytest.mark.parametrize('root', ['/some/where', '/some/where/', '/with blank/x'])
@pytest.mark.parametrize('way', ['option', 'environment'])
def test_the_data_root_comes_from_the_environment_or_the_argument(config, root, way, monkeypatch):
    if way == 'environment':
        monkeypatch.setenv('MMATTN_DATA_ROOT', root)
        cfg = load_config(config)
    else:
        monkeypatch.setenv('MMATTN_DATA_ROOT', '/not/this')
        cfg = load_config(config, data_root=root)
    assert roots(cfg) == {root.rstrip('/') + '/'}


def test_one_config_does_not_move_the_next():
    cfg = load_config(OURS, '/a')
    assert 'MMATTN_DATA_ROOT' not in os.environ
    assert roots(load_config(OURS)) == {'data/coco/'}
    assert '/a/' in cfg.pretty_text and 'MMATTN' not in cfg.pretty_text


def test_a_slash_makes_no_second_root(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text(
        "train_dataloader = dict(dataset=dict(data_root='data/coco'))\n"
        "val_dataloader = dict(dataset=dict(data_root='data/coco/'))"
    )
    cfg = load_config(str(file), '/new')
    assert cfg.train_dataloader.dataset.data_root == '/new/'
    assert cfg.val_dataloader.dataset.data_root == '/new/'


def test_options_win_over_the_data_root():
    cfg = load_config(OURS, '/a', {'val_dataloader.dataset.data_root': '/b/'})
    assert roots(cfg) == {'/a/', '/b/'}


def test_a_config_left_by_an_earlier_run(tmp_path):
    earlier = tmp_path / 'earlier.py'
    load_config(OURS, '/old/place').dump(earlier)
    assert roots(load_config(str(earlier), '/new')) == {'/new/'}


def test_a_wrapped_data_set(tmp_path):
    file = tmp_path / 'wrapped.py'
    file.write_text(
        "train_dataloader = dict(dataset=dict(type='RepeatDataset', times=3, dataset="
        "dict(type='CocoDataset', data_root='data/x', ann_file='data/x/a.json', "
        "data_prefix=dict(img='data/xy/'))))"
    )
    inner = load_config(str(file), '/new').train_dataloader.dataset.dataset
    assert (inner.data_root, inner.ann_file) == ('/new/', '/new/a.json')
    assert inner.data_prefix.img == 'data/xy/'  # another folder, whose name begins alike


@pytest.mark.parametrize(
    'text, says',
    [
        ("train_dataloader = dict(dataset=dict(type='CocoDataset'))", 'it has none'),
        (
            "train_dataloader = dict(dataset=dict(data_root='a/'))\n"
            "val_dataloader = dict(dataset=dict(data_root='b/'))",
            r'it has several: a, b',
        ),
    ],
)
def test_nothing_to_replace_is_an_error(tmp_path, text, says):
    file = tmp_path / 'config.py'
    file.write_text(text)
    with pytest.raises(
        ValueError,
        match=rf"cannot set the data root to '/new'.*{says}.*"
        r'Set the paths with --cfg-options',
    ):
        load_config(str(file), '/new')
    Config.fromfile(file)  # the config itself is fine


def test_a_missing_config_is_named():
    with pytest.raises(FileNotFoundError, match=r"no config file 'configs/nothing.py' \(looked in"):
        load_config('configs/nothing.py')


@pytest.mark.parametrize(
    'options, says',
    [
        (
            {'randomness.seed': 1, 'val_evaluator.ann_file.x': 3},
            "val_evaluator.ann_file.x=3: val_evaluator.ann_file is '",
        ),
        (
            {'train_dataloader.dataset.pipeline.99.prob': 3},
            r'prob=3: train_dataloader.dataset.pipeline ends with train_dataloader.dataset.pipeline.\d. Give',
        ),
    ],
)
def test_an_option_that_does_not_fit_is_named(options, says):
    with pytest.raises(ValueError, match=says):
        load_config(OURS, cfg_options=options)
