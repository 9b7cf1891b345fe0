"""Each thing wrong with the data is one clear message before training starts."""

import json

import cv2
import numpy as np
import pytest
from mmengine.config import Config, ConfigDict

from mmattn.engine import check_data, read_classes

CLASSES = ('nut', 'bolt')


@pytest.fixture(params=['parsed', 'skimmed'])
def data(request, tmp_path, monkeypatch):
    """A whole data set of three images, and the config that reads it."""
    if request.param == 'skimmed':  # as files of more than 50 MB are
        monkeypatch.setattr('mmattn.engine.data.reading.LARGE', 0)
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'images').mkdir()
    images = [dict(id=i, file_name=f'{i}.jpg', width=8, height=8) for i in range(3)]
    for image in images:
        cv2.imwrite(str(tmp_path / 'images' / image['file_name']), np.zeros((8, 8, 3), 'uint8'))
    content = dict(
        images=images,
        categories=[dict(id=5, name='nut'), dict(id=2, name='bolt'), dict(id=9, name='extra')],
        annotations=[dict(id=1, image_id=0, category_id=5, bbox=[1, 1, 4, 4], area=16, iscrowd=0)],
    )
    for part in ('train', 'val'):
        (tmp_path / 'annotations' / f'{part}.json').write_text(json.dumps(content))

    def loader(part):
        return dict(
            dataset=dict(
                type='CocoDataset',
                data_root=f'{tmp_path}/',
                ann_file=f'annotations/{part}.json',
                data_prefix=dict(img='images/'),
                metainfo=dict(classes=CLASSES),
            )
        )

    cfg = Config(
        dict(
            train_dataloader=loader('train'),
            val_dataloader=loader('val'),
            val_evaluator=dict(type='CocoMetric', ann_file=f'{tmp_path}/annotations/val.json'),
            model=dict(
                type='FasterRCNN',
                rpn_head=dict(type='RPNHead', num_classes=1),
                roi_head=dict(bbox_head=dict(num_classes=2)),
            ),
        )
    )
    cfg.root = tmp_path
    return cfg


def edit(cfg, change, part='train'):
    file = cfg.root / 'annotations' / f'{part}.json'
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_good_data_passes(data):
    check_data(data)


def test_wrappers_are_looked_into(data):
    data.train_dataloader.dataset = ConfigDict(
        type='RepeatDataset', dataset=dict(type='ConcatDataset', datasets=[data.train_dataloader.dataset] * 2)
    )
    check_data(data)
    (data.root / 'annotations' / 'train.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'train_dataloader.dataset.dataset.datasets.0.ann_file'):
        check_data(data)


def test_a_missing_annotation_file_is_refused(data):
    data.train_dataloader.dataset.data_root = '/no/such/place/'
    with pytest.raises(
        FileNotFoundError,
        match=(
            r"no annotation file '/no/such/place/annotations/train.json' "
            r'\(train_dataloader.dataset.ann_file\). Set the data root with --data-root or '
            'MMATTN_DATA_ROOT, or the file with --cfg-options train_dataloader.dataset.ann_file='
        ),
    ):
        check_data(data)


def test_a_missing_image_folder_is_refused(data):
    data.val_dataloader.dataset.data_prefix.img = 'val2017/'
    with pytest.raises(
        FileNotFoundError,
        match=(r"no image folder '.*val2017/' \(val_dataloader.dataset.data_prefix.img\)"),
    ):
        check_data(data)


def test_missing_images_are_counted_and_named(data):
    (data.root / 'images' / '1.jpg').unlink()
    with pytest.raises(
        ValueError,
        match=(
            r"annotation file '.*train.json' \(train_dataloader.dataset\): 1 of 3 checked images that it "
            "names are not in '.*images/': 1.jpg. Complete the folder"
        ),
    ):
        check_data(data)


def test_an_empty_image_is_named(data):
    (data.root / 'images' / '2.jpg').write_bytes(b'')
    with pytest.raises(ValueError, match=r"1 of 3 checked images in '.*' are empty files: 2.jpg"):
        check_data(data)


def test_large_sets_are_sampled(data, monkeypatch):
    monkeypatch.setattr('mmattn.engine.data.image_files.SAMPLE', 2)
    (data.root / 'images' / '1.jpg').unlink()
    check_data(data)  # looks at images 0 and 2
    (data.root / 'images' / '2.jpg').unlink()
    with pytest.raises(ValueError, match='1 of 2 checked images'):
        check_data(data)


def test_annotations_of_another_data_set(data):
    edit(data, lambda content: content.update(categories=[dict(id=1, name='cat')]))
    with pytest.raises(
        ValueError,
        match=(
            r"annotation file '.*train.json' .*: it is of another data set: 2 of the 2 classes that "
            r'train_dataloader.dataset is configured for are not in it \(nut, bolt\); its 1 '
            'categories are cat. Set metainfo'
        ),
    ):
        check_data(data)


def test_classes_that_are_coco_by_default(data):
    del data.train_dataloader.dataset['metainfo']
    with pytest.raises(ValueError, match=r'80 of the 80 classes .* \(person, bicycle, car'):
        check_data(data)


def test_a_class_named_twice_is_refused(data):
    edit(data, lambda content: content['categories'].append(dict(id=11, name='nut')))
    with pytest.raises(
        ValueError,
        match=(r"annotation file '.*train.json' names 1 classes more than once: nut. Labels could"),
    ):
        check_data(data)
    with pytest.raises(ValueError, match='names 1 classes more than once: nut'):
        read_classes(str(data.root / 'annotations' / 'train.json'))
    data.train_dataloader.dataset.metainfo.classes = ('nut', 'bolt', 'bolt')
    with pytest.raises(
        ValueError, match=('train_dataloader.dataset.metainfo.classes names 1 classes more than once: bolt')
    ):
        check_data(data)


def test_a_class_named_twice_that_is_not_configured_passes(data):
    edit(data, lambda content: content['categories'].append(dict(id=11, name='extra')))
    check_data(data)


def test_a_single_class_without_comma(data):
    data.train_dataloader.dataset.metainfo.classes = 'nut'
    with pytest.raises(TypeError, match=r"is the string 'nut'.*classes=\('nut', \)"):
        check_data(data)


def test_head_with_another_number_of_classes(data):
    data.model.roi_head.bbox_head = [dict(num_classes=2), dict(num_classes=80)]
    with pytest.raises(
        ValueError,
        match=('model.roi_head.bbox_head has num_classes=80, but train_dataloader.dataset has 2 classes'),
    ):
        check_data(data)


@pytest.mark.parametrize(
    'text, says',
    [
        ('{"images": [', 'is not valid JSON: Expecting value'),
        ('', 'is not valid JSON'),
        ('[' * 100_000, 'is not valid JSON: maximum recursion depth exceeded'),
        ('{"images": [{}], "categories": [, "annotations": []}', 'is not valid JSON'),
        ('[1, 2]', "not in COCO's detection format: TypeError"),
        ('{"images": [{"id": 1}], "categories": [], "annotations": []}', "KeyError 'file_name'"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": []}', "KeyError 'categories'"),
        ('{"images": [{"id": 1, "file_name": "a"}], "categories": []}', 'it lists no category'),
        ('{"images": [], "categories": [], "annotations": []}', 'names no image'),
        ('{"images": {}, "categories": [], "annotations": []}', 'TypeError images is {}, not a list'),
    ],
)
def test_a_broken_annotation_file_is_refused(data, text, says):
    (data.root / 'annotations' / 'train.json').write_text(text)
    with pytest.raises(ValueError, match=rf"'.*train.json'.*{says}"):
        check_data(data)


def test_evaluator_of_other_images(data):
    other = data.root / 'annotations' / 'other.json'
    edit(data, lambda content: content['images'].pop(), 'val')
    (data.root / 'annotations' / 'val.json').rename(other)
    (data.root / 'annotations' / 'val.json').write_text(
        (data.root / 'annotations' / 'train.json').read_text()
    )
    data.val_evaluator.ann_file = str(other)
    with pytest.raises(
        ValueError,
        match=(
            r"val_evaluator.ann_file '.*other.json' does not know 1 of the 3 images to "
            r'evaluate: id 2. Set it to the annotation file of val_dataloader'
        ),
    ):
        check_data(data)


def test_other_formats_are_left_alone(data):
    data.train_dataloader.dataset = ConfigDict(type='VOCDataset', data_root='/no/such/place/')
    check_data(data, ('train',))


def test_classes_are_read_in_the_order_of_the_file(data):
    assert read_classes(str(data.root / 'annotations' / 'train.json')) == ('nut', 'bolt', 'extra')
    with pytest.raises(
        FileNotFoundError,
        match=(
            "no annotation file 'x/train.json', from which the classes are read. Set the data root "
            'with --data-root or MMATTN_DATA_ROOT'
        ),
    ):
        read_classes('x/train.json')


def test_skimming_gives_up_where_a_key_stands_twice(data):
    """What comes first need not be the list of images."""
    edit(data, lambda content: content.update(info=dict(images=[]), images=content['images']))
    check_data(data)
