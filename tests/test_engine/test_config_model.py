"""The model of a config whose data is not there, or has other classes."""

from pathlib import Path

import pytest

from mmattn.engine.config_model import build_model

FOLDER = 'configs/retinanet/retinanet_r18_fpn_folder.py'
COCO = 'configs/retinanet/retinanet_r18_fpn_1x_coco.py'


@pytest.fixture
def told(in_project, monkeypatch):
    """What is logged, without times."""
    lines = []
    monkeypatch.setattr(
        'mmattn.engine.config_model.print_log', lambda text, logger=None, level=20: lines.append(text)
    )
    return lines


def test_without_data_the_classes_are_cocos_and_it_is_said(told, tmp_path):
    own = tmp_path / 'mine.py'  # the name of the file does not matter
    own.write_text(f'_base_ = {str(Path(FOLDER).resolve())!r}\n')
    assert build_model(str(own)).bbox_head.num_classes == 80
    assert told == [
        f'{own} reads its classes from the data, and no data root was given: it now has the 80 classes of '
        'COCO. --data-root or MMATTN_DATA_ROOT names the data'
    ]


def test_with_data_they_are_the_datas(told, squares, monkeypatch):
    assert build_model(FOLDER, data_root=str(squares)).bbox_head.num_classes == 2
    monkeypatch.setenv('MMATTN_DATA_ROOT', str(squares))
    assert build_model(FOLDER).bbox_head.num_classes == 2
    assert told == []
    with pytest.raises(FileNotFoundError, match="no annotation file 'no/annotations/train.json'"):
        build_model(FOLDER, data_root='no')


def test_other_classes_than_the_heads_are_told(told, squares):
    options = {'train_dataloader.dataset.ann_file': 'annotations/train.json'}
    options['train_dataloader.dataset.data_prefix.img'] = 'images/'
    assert build_model(COCO, options, str(squares)).bbox_head.num_classes == 80
    assert told == [
        f'{COCO}: model.bbox_head has num_classes=80, but {squares}/annotations/train.json has 2 classes. '
        'Set model.bbox_head.num_classes=2'
    ]


def test_missing_data_of_a_config_that_does_not_read_it_is_told(told):
    build_model(COCO, data_root='no')
    assert len(told) == 1 and "no annotation file 'no/annotations/instances_train2017.json'" in told[0]
