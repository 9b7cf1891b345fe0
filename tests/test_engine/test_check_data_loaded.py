"""What a data set has loaded is checked before the first step, whatever it was loaded from."""

import json
from types import SimpleNamespace

import pytest
from mmdet.registry import DATASETS

from mmattn.engine import DataRefused, check_data
from mmattn.engine.data import check_loaded, loading_explained
from mmattn.hooks import CheckDataHook

from .data_variants import edit, write_set
from .test_check_data_variants import box, each


@pytest.fixture
def cfg(tmp_path, mmdet_scope):
    cfg = write_set(tmp_path)
    cfg.root = tmp_path
    return cfg


@pytest.fixture
def large(monkeypatch):
    """As files of more than 50 MB are read, with the first annotations that are looked at."""
    monkeypatch.setattr('mmattn.engine.data.reading.LARGE', 0)
    monkeypatch.setattr('mmattn.engine.data.skim.FIRST', 2)


def build(cfg, wrapper=None):
    dataset = cfg.train_dataloader.dataset
    if wrapper == 'RepeatDataset':
        dataset = dict(type='RepeatDataset', times=2, dataset=dataset)
    elif wrapper == 'ConcatDataset':
        dataset = dict(type='ConcatDataset', datasets=[dataset, dataset])
    elif wrapper == 'MultiImageMixDataset':
        dataset = dict(type='MultiImageMixDataset', dataset=dataset, pipeline=[])
    return DATASETS.build(dataset)


CASES = {
    'none': (lambda whole: whole['annotations'].clear(), 'loaded no box to train on from .*train.json'),
    'crowds': (
        each('annotations', lambda a: a.update(iscrowd=1)),
        'each of its 6 images has none, or crowds only',
    ),
    'corners': (
        box(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]),
        'the numbers look like two corners .* on .*train_0.jpg',
    ),
    'infinite': (
        lambda whole: whole['annotations'][7].update(bbox=[3, 3, float('inf'), 9]),
        '1 of 12 boxes .* not finite',
    ),
}


@pytest.mark.parametrize(
    'name, wrapper',
    [(name, None) for name in CASES]
    + [('none', wrapper) for wrapper in ('RepeatDataset', 'ConcatDataset', 'MultiImageMixDataset')],
)
def test_boxes_that_were_loaded(cfg, name, wrapper):
    change, says = CASES[name]
    check_loaded(build(cfg, wrapper))
    edit(cfg.root, change)
    if wrapper in ('RepeatDataset', 'ConcatDataset'):
        says = says.replace('its 6', 'its (6|12)')
    with pytest.raises(DataRefused, match=says):
        CheckDataHook().before_train(
            SimpleNamespace(train_dataloader=SimpleNamespace(dataset=build(cfg, wrapper)))
        )


def test_a_data_set_without_images(cfg, large):
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    edit(cfg.root, lambda whole: whole['annotations'].clear())
    check_data(cfg)
    with pytest.raises(DataRefused, match="has no box to train on in '.*train.json': it has no annotations"):
        with loading_explained(cfg, ('train',)):
            build(cfg)


def test_images_without_labels_pass(cfg):
    cfg.train_dataloader.dataset.pipeline[1] = dict(type='LoadEmptyAnnotations')
    edit(cfg.root, lambda whole: whole['annotations'].clear())
    check_loaded(build(cfg))


def test_a_data_set_in_another_format_is_loaded_and_checked(tmp_path, mmdet_scope):
    """VOC's, with its boxes as two corners, which MMDetection knows."""
    for folder in ('JPEGImages', 'Annotations', 'ImageSets'):
        (tmp_path / 'VOC2012' / folder).mkdir(parents=True)
    (tmp_path / 'VOC2012/ImageSets/a.txt').write_text('one\n')
    voc = (
        '<annotation><size><width>60</width><height>50</height></size><object><name>dog</name>'
        '<difficult>{}</difficult><bndbox><xmin>30</xmin><ymin>20</ymin><xmax>50</xmax><ymax>44</ymax>'
        '</bndbox></object></annotation>'
    )
    dataset = dict(
        type='VOCDataset',
        data_root=str(tmp_path),
        ann_file='VOC2012/ImageSets/a.txt',
        data_prefix=dict(sub_data_root='VOC2012/'),
        pipeline=[],
    )
    for difficult in (0, 1):
        (tmp_path / 'VOC2012/Annotations/one.xml').write_text(voc.format(difficult))
        built = DATASETS.build(dict(dataset))
        built.pipeline.transforms = None
        if difficult:
            with pytest.raises(DataRefused, match='no box to train on'):
                check_loaded(built)
        else:
            check_loaded(built)


@pytest.mark.parametrize(
    'change, says',
    [
        (
            lambda whole: whole['annotations'][9].update(id=3),
            'of the ids of 12 annotations 1 are given to several; .* --cfg-options '
            'parse_large_ann_files=True reads it',
        ),
        (lambda whole: whole['annotations'][9].update(bbox=[1, 2, 3]), r'id 10 has \[1, 2, 3\]'),
        (lambda whole: whole['annotations'][9].update(bbox=list('1234')), '1 of 12 boxes are text'),
    ],
)
def test_a_large_file_with_one_fault_far_behind(cfg, large, change, says):
    edit(cfg.root, change)
    check_data(cfg)  # nothing in the first annotations
    with pytest.raises(DataRefused, match=f'which is large, .* cannot be loaded: .*{says}'):
        with loading_explained(cfg, ('train',)):
            build(cfg)
    cfg.parse_large_ann_files = True
    if 'reads it' in says or 'text' in says:
        assert any(data.is_repaired for _, data in check_data(cfg))
    else:
        with pytest.raises(DataRefused):
            check_data(cfg)


def test_other_errors_pass_through(cfg, large):
    with pytest.raises(ValueError, match='nothing to do with it'):
        with loading_explained(cfg, ('train',)):
            raise ValueError('nothing to do with it')


def test_a_large_file_is_parsed_whole_where_its_fields_are_not_alike(cfg, large):
    edit(cfg.root, lambda whole: whole['annotations'][9].pop('area'))
    assert any(
        '1 of 12 annotations have no usable area' in str(f)
        for _, data in check_data(cfg)
        for f in data.findings
    )


def test_a_large_file_is_not_parsed(cfg, large, monkeypatch):
    parsed = []
    loads = json.loads
    monkeypatch.setattr('mmattn.engine.data.reading.json.loads', lambda text: parsed.append(1) or loads(text))
    check_data(cfg)
    assert not parsed
    edit(cfg.root, lambda whole: whole['categories'].reverse(), 'val')
    parsed.clear()
    assert check_data(cfg)[1][1].is_repaired
    assert len(parsed) == 1
