"""Normalised copies: where they are, who reads them, and which images they leave out."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mmattn.engine import DataRefused, check_data, load_config, prepare_data

from .data_variants import content, edit, loaded, write_image, write_json, write_set


@pytest.fixture
def cfg(tmp_path, mmdet_scope):
    cfg = write_set(tmp_path)
    cfg.root = tmp_path
    return cfg


def reverse(whole):
    whole['categories'].reverse()


def test_a_config_that_a_run_left_reads_the_users_files_again(cfg, tmp_path):
    """Its test data set too, which is another name of val's in most configs."""
    written = tmp_path / 'own.py'
    cfg.pop('root')
    cfg.dump(str(written))
    written.write_text(
        written.read_text() + 'test_dataloader = val_dataloader\ntest_evaluator = val_evaluator\n'
    )
    edit(tmp_path, reverse, 'val')
    cfg = load_config(str(written))
    cfg.work_dir = str(tmp_path / 'work')
    prepare_data(cfg)
    assert cfg.test_dataloader.dataset.ann_file == 'annotations/val.json'
    assert cfg.test_evaluator.ann_file == f'{tmp_path}/annotations/val.json'
    copy = cfg.val_dataloader.dataset.ann_file
    assert copy == cfg.val_evaluator.ann_file and Path(copy).parent == tmp_path / 'work/data'

    left = tmp_path / 'work/own.py'
    cfg.dump(str(left))
    assert Config.fromfile(str(left)).val_dataloader.dataset.ann_file == copy  # as other tools run it
    again = load_config(str(left))
    assert again.val_dataloader.dataset.ann_file == 'annotations/val.json'
    assert again.val_evaluator.ann_file == f'{tmp_path}/annotations/val.json'
    assert 'given_ann_files' not in again
    moved = load_config(str(left), data_root='/elsewhere')
    assert moved.val_evaluator.ann_file == '/elsewhere/annotations/val.json'

    again.work_dir = str(tmp_path / 'work')
    prepare_data(again)
    assert again.val_evaluator.ann_file == copy


def test_testing_reads_a_copy_too(cfg):
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    clean = loaded(cfg, 'test')
    edit(cfg.root, reverse, 'val')
    prepare_data(cfg, ('test',))
    assert loaded(cfg, 'test') == clean
    assert cfg.test_dataloader.dataset.ann_file == cfg.test_evaluator.ann_file


def test_a_data_set_in_a_concatenation_reads_a_copy(cfg):
    edit(cfg.root, reverse)
    dataset = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[dataset, dataset])
    prepare_data(cfg)
    both = [each.ann_file for each in cfg.train_dataloader.dataset.datasets]
    assert both[0] == both[1] and both[0].startswith(f'{cfg.root}/work/data/train-')


def test_several_evaluators_read_copies(cfg):
    edit(cfg.root, reverse, 'val')
    metric = cfg.val_evaluator
    cfg.val_evaluator = [
        metric,
        dict(type='DumpDetResults', out_file_path='a.pkl'),
        dict(metric, metric='proposal'),
    ]
    prepare_data(cfg)
    assert (
        cfg.val_evaluator[0].ann_file == cfg.val_evaluator[2].ann_file == cfg.val_dataloader.dataset.ann_file
    )


def test_an_evaluator_with_another_file_reads_a_copy_of_its_own(cfg):
    write_json(cfg.root, content('val'), 'other')
    edit(cfg.root, reverse, 'other')
    cfg.val_evaluator.ann_file = f'{cfg.root}/annotations/other.json'
    prepare_data(cfg)
    assert '/work/data/other-' in cfg.val_evaluator.ann_file
    assert cfg.val_dataloader.dataset.ann_file == 'annotations/val.json'
    names = [each['name'] for each in json.loads(Path(cfg.val_evaluator.ann_file).read_text())['categories']]
    assert names == list(cfg.val_dataloader.dataset.metainfo.classes)


def damage(root):
    """Four images that cannot be used, each in its own way, and two that can."""
    images = root / 'images'
    (images / 'train_0.jpg').unlink()
    (images / 'train_1.jpg').write_bytes(b'')
    (images / 'train_2.jpg').write_bytes((images / 'train_2.jpg').read_bytes()[:-300])
    write_image(images / 'train_3.jpg', 30, 30)


def test_images_that_cannot_be_used_are_left_out(cfg, warnings):
    whole = loaded(cfg)
    damage(cfg.root)
    with pytest.raises(DataRefused, match='1 of 6 checked images that it names are not in'):
        check_data(cfg)
    prepare_data(cfg, drop_bad_images=True)
    assert loaded(cfg) == whole[4:]
    (listed,) = (cfg.root / 'work/data').glob('train-*.dropped.txt')
    assert listed.read_text().splitlines() == [
        'train_0.jpg\tmissing',
        'train_1.jpg\tan empty file',
        'train_2.jpg\tcannot be decoded',
        'train_3.jpg\tof another size than in the annotation file',
    ]
    assert not list((cfg.root / 'work/data').glob('val-*.dropped.txt'))
    assert any('1 images are left out (--drop-bad-images): missing: train_0.jpg' in text for text in warnings)


def test_other_processes_read_the_same_copies(cfg):
    """They open no image."""
    damage(cfg.root)
    other = Config(cfg.to_dict())
    prepare_data(other, first=False, drop_bad_images=True)
    assert not (cfg.root / 'work').exists()
    prepare_data(cfg, drop_bad_images=True)
    for part in ('train', 'val'):
        assert other[f'{part}_dataloader'].dataset.ann_file == cfg[f'{part}_dataloader'].dataset.ann_file
    assert other.val_evaluator.ann_file == cfg.val_evaluator.ann_file
    assert Path(other.train_dataloader.dataset.ann_file).is_file()


@pytest.mark.parametrize(
    'change',
    [
        lambda whole: [image.update(file_name=f'images\\{image["file_name"]}') for image in whole['images']],
        lambda whole: [image.pop('width') for image in whole['images']],
        reverse,
        lambda whole: None,
    ],
)
def test_other_processes_know_of_repairs(cfg, change):
    edit(cfg.root, change)
    other = Config(cfg.to_dict())
    prepare_data(other, first=False)
    prepare_data(cfg)
    assert other.train_dataloader.dataset.ann_file == cfg.train_dataloader.dataset.ann_file


def test_no_good_image_is_an_error(cfg):
    for image in (cfg.root / 'images').glob('train_*'):
        image.unlink()
    with pytest.raises(DataRefused, match='6 of 6 checked images that it names are not in'):
        prepare_data(cfg, drop_bad_images=True)


def test_an_evaluator_with_another_file_leaves_out_the_same_images(cfg):
    (cfg.root / 'images/val_1.jpg').unlink()
    write_json(cfg.root, content('val'), 'other')
    cfg.val_evaluator.ann_file = f'{cfg.root}/annotations/other.json'
    prepare_data(cfg, drop_bad_images=True)
    listed = json.loads(Path(cfg.val_evaluator.ann_file).read_text())['images']
    assert [each['id'] for each in listed] == [1, 3, 4, 5, 6]
