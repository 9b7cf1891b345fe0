"""What exporters write otherwise than COCO is read right, or refused by name before training."""

import json
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from mmattn.engine import DataRefused, check_data, prepare_data
from mmattn.engine.data.check import findings_to_tell

from .data_variants import CLASSES, SIZES, content, edit, loaded, write_image, write_json, write_set


@pytest.fixture
def cfg(tmp_path, mmdet_scope):
    cfg = write_set(tmp_path)
    cfg.root = tmp_path
    return cfg


def each(key, change):
    """Change every entry of a list of the file."""

    def apply(whole):
        for entry in whole[key]:
            change(entry)

    return apply


def box(change):
    return each('annotations', lambda a: a.update(bbox=change(a['bbox'])))


def size_of(whole, annotation):
    return next((i['width'], i['height']) for i in whole['images'] if i['id'] == annotation['image_id'])


def scaled(whole, change):
    for annotation in whole['annotations']:
        w, h = size_of(whole, annotation)
        x, y, bw, bh = annotation['bbox']
        annotation['bbox'] = change(x / w, y / h, bw / w, bh / h)


def per_box(whole):
    """An image entry for each box, as naive converters of CSV write them."""
    images = {image['id']: image for image in whole['images']}
    whole['images'] = [
        dict(images[annotation['image_id']], id=annotation['id']) for annotation in whole['annotations']
    ]
    for annotation in whole['annotations']:
        annotation['image_id'] = annotation['id']


def names(change):
    return each('images', lambda i: i.update(file_name=change(i['file_name'])))


READ_RIGHT = {
    'no area': (each('annotations', lambda a: a.pop('area')), 'of 12 annotations have no usable area'),
    'area 0': (each('annotations', lambda a: a.update(area=0.0)), '12 of 12 annotations have no usable area'),
    'no iscrowd': (each('annotations', lambda a: a.pop('iscrowd')), '12 of 12 annotations have no iscrowd'),
    'iscrowd as a boolean': (each('annotations', lambda a: a.update(iscrowd=False)), 'have no iscrowd'),
    'area as text': (each('annotations', lambda a: a.update(area=str(a['area']))), 'have no usable area'),
    'boxes of strings': (box(lambda b: [str(v) for v in b]), '12 of 12 boxes are text'),
    'boxes as one string': (box(str), '12 of 12 boxes are text'),
    'sizes as strings': (
        each('images', lambda i: i.update(width=str(i['width']), height=f'{i["height"]}.0')),
        '12 widths and heights of 6 images are text or floats',
    ),
    'no sizes': (
        each('images', lambda i: (i.pop('width'), i.pop('height'))),
        '6 of 6 images have no usable width and height: they are read from the image files',
    ),
    'sizes of 0': (each('images', lambda i: i.update(width=0, height=0)), 'no usable width and height'),
    'sizes that no image has': (
        each('images', lambda i: i.update(width=2**40, height=10**400)),
        'no usable width and height',
    ),
    'sizes that are null': (each('images', lambda i: i.update(width=None)), 'no usable width and height'),
    'image ids as text': (
        lambda whole: (
            each('images', lambda i: i.update(id=f'{i["id"]:06}'))(whole),
            each('annotations', lambda a: a.update(image_id=f'{a["image_id"]:06}'))(whole),
        ),
        '18 of 18 ids of images are not whole numbers',
    ),
    'image ids as text in annotations alone': (
        each('annotations', lambda a: a.update(image_id=str(a['image_id']))),
        "12 of 18 ids of images are not whole numbers (str, for example '1')",
    ),
    'image ids as floats': (
        each('annotations', lambda a: a.update(image_id=float(a['image_id']))),
        '12 of 18 ids of images are not whole numbers (float, for example 1.0)',
    ),
    'file names as image ids': (
        each('annotations', lambda a: a.update(image_id=f'train_{a["image_id"] - 1}.jpg')),
        'ids of images are not whole numbers',
    ),
    'category ids as text': (
        each('annotations', lambda a: a.update(category_id=str(a['category_id']))),
        '12 of 15 ids of categories are not whole numbers',
    ),
    'category ids as floats': (
        each('annotations', lambda a: a.update(category_id=float(a['category_id']))),
        'ids of categories are not whole numbers',
    ),
    'category names as category ids': (
        each('annotations', lambda a: a.update(category_id=CLASSES[a['category_id'] - 1])),
        "(str, for example 'nut')",
    ),
    'annotation ids repeated': (
        each('annotations', lambda a: a.update(id=a['id'] % 2 + 1)),
        'of the ids of 12 annotations 2 are given to several; they are numbered anew: 2, 1',
    ),
    'annotation ids missing': (each('annotations', lambda a: a.pop('id')), '12 are missing'),
    'annotation ids from 0': (
        each('annotations', lambda a: a.update(id=a['id'] - 1)),
        '1 are below 1, which pycocotools takes for "no match"',
    ),
    'annotation ids of letters': (
        each('annotations', lambda a: a.update(id=f'x{a["id"]}')),
        '12 are no whole numbers',
    ),
    'annotations twice': (
        lambda whole: whole['annotations'].extend(whole['annotations']),
        '12 of 24 annotations stand there twice',
    ),
    'images twice': (lambda whole: whole['images'].extend(whole['images']), '6 images stand there twice'),
    'categories twice': (
        lambda whole: whole['categories'].extend(whole['categories']),
        '3 categories stand there twice',
    ),
    'an image entry for each box': (per_box, '6 images are listed several times, each time with some of'),
    'categories in another order': (
        lambda whole: whole['categories'].reverse(),
        "category 0 is 'washer' and class 0 'nut'",
    ),
    'no box but polygons': (
        each(
            'annotations',
            lambda a: a.update(
                segmentation=[polygon(a.pop('bbox'))],
            ),
        ),
        '12 of 12 annotations have no box, but polygons that tell it',
    ),
    'Windows paths': (names(lambda n: f'images\\{n}'), 'images are named in another way than their files'),
    'Windows paths of another machine': (names(lambda n: f'C:\\me\\set\\{n}'), 'named in another way'),
    'names that repeat the folder': (names(lambda n: f'images/{n}'), "'images/train_0.jpg' is 'train_0.jpg'"),
    'blanks around names': (names(lambda n: f' {n}\n'), 'named in another way'),
    'absolute paths of another machine': (names(lambda n: f'/home/me/{n}'), 'named in another way'),
    'URLs': (names(lambda n: f'https://storage.org/bucket/{n}?token=1%2F2'), 'named in another way'),
    'upper-case suffixes': (names(lambda n: n.replace('.jpg', '.JPG')), 'named in another way'),
    'other suffixes': (names(lambda n: n.replace('.jpg', '.png')), 'named in another way'),
    'no suffixes': (names(lambda n: n.replace('.jpg', '')), 'named in another way'),
}


def polygon(b):
    x, y, w, h = b
    return [x, y, x + w, y, x + w, y + h, x, y + h]


@pytest.mark.parametrize('name', READ_RIGHT)
def test_a_variant_is_read_right(cfg, name, warnings):
    change, says = READ_RIGHT[name]
    clean = loaded(cfg)
    edit(cfg.root, change)
    before = (cfg.root / 'annotations/train.json').read_bytes()
    prepare_data(cfg)
    assert loaded(cfg) == clean
    assert any('(read right)' in text and says in text for text in warnings), warnings
    assert (cfg.root / 'annotations/train.json').read_bytes() == before
    assert [path.parent for path in cfg.root.rglob('train-*.json')] == [cfg.root / 'work/data']
    # the copy is in order
    assert [text for text in findings_to_tell(check_data(cfg)) if '(read right)' in text] == []


@pytest.mark.parametrize('crowd', [-1, 2, 256])
def test_another_iscrowd_than_0_and_1_is_a_crowd_as_in_mmdetection(cfg, crowd, warnings):
    """Pycocotools keeps the number in a byte: beyond 255, the metric would end in an OverflowError."""
    some = {1, 2}
    edit(cfg.root, each('annotations', lambda a: a.update(iscrowd=int(a['id'] in some))))
    expected = loaded(cfg)
    edit(cfg.root, each('annotations', lambda a: a.update(iscrowd=crowd if a['id'] in some else 0)))
    prepare_data(cfg)
    assert loaded(cfg) == expected
    assert any('2 of 12 annotations have no iscrowd of 0 or 1' in text for text in warnings), warnings
    copy = json.loads(Path(cfg.train_dataloader.dataset.ann_file).read_text())
    assert {a['iscrowd'] for a in copy['annotations']} == {0, 1}


REFUSED = {
    'all crowds': (
        each('annotations', lambda a: a.update(iscrowd=1)),
        ': 12 of 12 boxes are crowds',
    ),
    'all ignored': (
        each('annotations', lambda a: a.update(ignore=1)),
        '12 of 12 boxes are marked as ignored',
    ),
    'all under a pixel': (
        each('annotations', lambda a: a.update(bbox=[*a['bbox'][:2], 0.5, 0.5], area=0.25)),
        '12 of 12 boxes are under a pixel',
    ),
    'all outside': (
        each('annotations', lambda a: a.update(bbox=[500, 500, 9, 9])),
        '12 of 12 boxes leave their image',
    ),
    'no annotations': (lambda whole: whole['annotations'].clear(), "train.json': it has no annotations"),
    'no list of annotations': (lambda whole: whole.pop('annotations'), "train.json': it has no annotations"),
    'NaN': (
        lambda whole: whole['annotations'][3].update(bbox=[1, float('nan'), 3, 4]),
        'id 4 has [1, nan, 3, 4]',
    ),
    'infinite': (
        lambda whole: whole['annotations'][3].update(bbox=[1, 2, 3, float('inf')]),
        'id 4 has [1, 2, 3, inf]',
    ),
    'a number that no float can be': (
        lambda whole: whole['annotations'][3].update(bbox=[1, 2, 3, 10**400]),
        '1 of 12 boxes are not four finite numbers: id 4 has [1, 2, 3, 1000',
    ),
    'three numbers': (
        lambda whole: whole['annotations'][3].update(bbox=[1, 2, 3]),
        '1 of 12 boxes are not four finite numbers: id 4 has [1, 2, 3]. Correct these annotations',
    ),
    'words for numbers': (
        lambda whole: whole['annotations'][3].update(bbox=['a', 1, 2, 3]),
        "id 4 has ['a', 1, 2, 3]",
    ),
    'a dict': (lambda whole: whole['annotations'][3].update(bbox=dict(x=1)), "id 4 has {'x': 1}"),
    'no box': (lambda whole: whole['annotations'][3].pop('bbox'), 'id 4 has None'),
    'two corners': (
        box(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]),
        'the numbers look like two corners (x1, y1, x2, y2), as VOC has them. Annotation',
    ),
    'two corners, rows first': (
        box(lambda b: [b[1], b[0], b[1] + b[3], b[0] + b[2]]),
        'look like two corners with rows before columns (y1, x1, y2, x2)',
    ),
    'YOLO': (
        lambda whole: scaled(whole, lambda x, y, w, h: [x + w / 2, y + h / 2, w, h]),
        "12 of 12 boxes lie within 0 and 1, under a pixel: the numbers look like fractions of the image's "
        'size (centre x, centre y, width, height), as YOLO has them. Annotation 1 on',
    ),
    'fractions': (
        lambda whole: scaled(whole, lambda x, y, w, h: [0.4 * x, y, min(w * 3, 1 - 0.4 * x), 1 - y]),
        "look like fractions of the image's size",
    ),
    'annotations count categories from 0': (
        each('annotations', lambda a: a.update(category_id=a['category_id'] - 1)),
        'the annotations count from 0 and the list from 1, so all others would belong to the wrong category: '
        '0. Add 1',
    ),
    'the list counts categories from 0': (
        each('categories', lambda c: c.update(id=c['id'] - 1)),
        'the annotations count from 1 and the list from 0',
    ),
    'annotations count images from 0': (
        each('annotations', lambda a: a.update(image_id=a['image_id'] - 1)),
        'so all others would belong to the wrong image',
    ),
    'annotations of other images': (
        each('annotations', lambda a: a.update(image_id=a['image_id'] + 500)),
        '12 of 12 annotations are of image ids that the file does not list: 501',
    ),
    'image ids that are all the same': (
        each('images', lambda i: i.update(id=1)),
        '1 ids are given to several images each, so that 2 of 12 boxes belong to no certain one: 1 is '
        'train_0.jpg and',
    ),
    'category ids with two names': (
        each('categories', lambda c: c.update(id=1)),
        '1 ids of categories have several names: 1 is nut and bolt and washer',
    ),
    'other sizes': (
        each('images', lambda i: i.update(width=2 * i['width'], height=2 * i['height'])),
        '6 of 6 checked images have another size (width x height) than the annotation file says: '
        'train_0.jpg is 64x48 when loaded and 128x96 in the file',
    ),
    'width and height swapped': (
        each('images', lambda i: i.update(width=i['height'], height=i['width'])),
        'Width and height look swapped',
    ),
    'class names in other case': (
        each('categories', lambda c: c.update(name=c['name'].title())),
        '3 classes are spelt differently, but for case, blanks and the like, in train_dataloader.dataset and '
        "in the annotation file: 'nut' and 'Nut', 'bolt' and 'Bolt', 'washer' and 'Washer'. Spell them alike",
    ),
    'class names with a blank': (
        each('categories', lambda c: c.update(name=c['name'] + ' ')),
        "'nut' and 'nut '",
    ),
    'ids of several types': (
        lambda whole: whole['images'][2].update(id='third'),
        "the ids of images are neither all whole numbers nor all text: 'third'. Give each a whole number",
    ),
    'ids that are null': (
        each('images', lambda i: i.update(id=None)),
        'the ids of images are neither all whole numbers nor all text: None',
    ),
    'ids that are lists': (lambda whole: whole['images'][0].update(id=[1]), "unhashable type: 'list'"),
}


@pytest.mark.parametrize('name', REFUSED)
def test_a_fault_is_refused(cfg, name):
    change, says = REFUSED[name]
    edit(cfg.root, change)
    with pytest.raises(DataRefused) as error:
        check_data(cfg)
    assert says in str(error.value)
    assert 'train.json' in str(error.value)


OTHER_FORMATS = {
    'results in COCO format': lambda whole: [dict(a, score=0.5) for a in whole['annotations']],
    'a bare list of annotations': lambda whole: whole['annotations'],
    'an export in the format CreateML': lambda whole: [dict(image='a.jpg', annotations=[])],
    'a file of LabelMe': lambda whole: dict(shapes=[], imagePath='a.jpg'),
    'a file of the VGG Image Annotator': lambda whole: {'a.jpg1': dict(filename='a.jpg', regions=[])},
    'a project of the VGG Image Annotator': lambda whole: {'_via_img_metadata': {}},
    'an export of Label Studio': lambda whole: [dict(data={}, annotations=[])],
    'a list of images in the format of detectron2': lambda whole: [dict(file_name='a.jpg', annotations=[])],
    'an annotation of Pascal VOC': lambda whole: dict(annotation=dict(object=[])),
    'a file of Datumaro': lambda whole: dict(items=[], categories={}),
    'COCO in format "captions"': lambda whole: dict(whole, annotations=[dict(image_id=1, caption='a nut')]),
    'COCO in format "panoptic"': lambda whole: dict(whole, annotations=[dict(image_id=1, segments_info=[])]),
}


@pytest.mark.parametrize('name', OTHER_FORMATS)
def test_other_formats_are_named(cfg, name):
    write_json(cfg.root, OTHER_FORMATS[name](content('train')))
    says = f"train.json' is JSON, but not in COCO's detection format: it is {name}"
    with pytest.raises(DataRefused, match=says):
        check_data(cfg)


TOLD = {
    'a negative box': (
        lambda whole: whole['annotations'][3].update(bbox=[20, 20, -5, 8]),
        '1 of 12 boxes are empty or negative: MMDetection leaves them out: id 4 has [20, 20, -5, 8]',
    ),
    'an empty box': (
        lambda whole: whole['annotations'][3].update(bbox=[20, 20, 0, 8]),
        '1 of 12 boxes are empty or negative',
    ),
    'a box that leaves its image': (
        lambda whole: whole['annotations'][3].update(bbox=[30, 20, 70, 9]),
        '1 of 12 boxes leave their image by more than 2 pixels and 1 %: id 4 has [30, 20, 70, 9]',
    ),
    'an annotation of no image': (
        lambda whole: whole['annotations'][3].update(image_id=77),
        '1 of 12 annotations are of image ids that the file does not list: MMDetection leaves them out: 77',
    ),
    'an annotation of no category': (
        lambda whole: whole['annotations'][3].update(category_id=77),
        '1 of 12 annotations are of category ids that the file does not list',
    ),
    'two images with one id': (
        lambda whole: whole['images'][1].update(id=1),
        '1 ids are given to several images each, so that 2 of 12 boxes belong to no certain one. These '
        'images',
    ),
    'a box that stands there twice': (
        lambda whole: whole['annotations'].append(dict(whole['annotations'][0], id=99)),
        '1 of 12 boxes stand there several times: ',
    ),
    'an image that is listed twice': (
        lambda whole: (
            whole['images'].append(dict(whole['images'][0], id=99)),
            whole['annotations'].extend(
                dict(a, id=50 + a['id'], image_id=99) for a in whole['annotations'][:2]
            ),
        ),
        '1 images are listed several times with the same boxes: train_0.jpg',
    ),
    'a class without boxes': (
        each('annotations', lambda a: a.update(category_id=2)),
        '2 of the 3 classes have no box here: nut, washer',
    ),
    'many crowds': (
        lambda whole: [a.update(iscrowd=1) for a in whole['annotations'][:5]],
        '5 of 12 boxes are crowds: MMDetection leaves them out',
    ),
    'annotations of other parts': (
        lambda whole: whole['annotations'].extend(
            dict(a, id=50 + i, image_id=900 + i) for i, a in enumerate(whole['annotations'] * 2)
        ),
        '24 of 36 annotations are of image ids that the file does not list',
    ),
}


@pytest.mark.parametrize('name', TOLD)
def test_a_peculiarity_is_reported(cfg, name):
    change, says = TOLD[name]
    edit(cfg.root, change)
    assert [text for text in findings_to_tell(check_data(cfg)) if says in text]


def test_good_data_has_nothing_to_report(cfg):
    assert findings_to_tell(check_data(cfg)) == []
    prepare_data(cfg)
    assert not (cfg.root / 'work').exists()


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32'])
def test_every_encoding_of_unicode_is_read(cfg, encoding):
    clean = loaded(cfg)
    file = cfg.root / 'annotations/train.json'
    file.write_bytes(file.read_text().encode(encoding))
    prepare_data(cfg)
    assert loaded(cfg) == clean


def test_another_encoding_than_unicode(cfg):
    file = cfg.root / 'annotations/train.json'
    file.write_bytes(file.read_text().replace('nut', 'Mutter für').encode('latin-1'))
    with pytest.raises(DataRefused, match=r"train.json' .* is not valid text in UTF-8: 'utf-8' codec can't"):
        check_data(cfg)


@pytest.mark.parametrize('form', ['NFC', 'NFD'])
def test_file_names_in_another_normal_form(cfg, form):
    """As macOS writes them."""
    other = {'NFC': 'NFD', 'NFD': 'NFC'}[form]
    (cfg.root / 'images/train_0.jpg').rename(cfg.root / 'images' / unicodedata.normalize(other, 'Müll.jpg'))
    clean = loaded(cfg)
    edit(cfg.root, lambda whole: whole['images'][0].update(file_name=unicodedata.normalize(form, 'Müll.jpg')))
    prepare_data(cfg)
    assert unicodedata.normalize(other, 'Müll.jpg') in [name for name, *_ in loaded(cfg)]
    assert len(loaded(cfg)) == len(clean)


def test_file_names_that_are_percent_encoded(cfg):
    (cfg.root / 'images/train_0.jpg').rename(cfg.root / 'images/my nut.jpg')
    edit(cfg.root, lambda whole: whole['images'][0].update(file_name='my%20nut.jpg'))
    prepare_data(cfg)
    assert 'my nut.jpg' in [name for name, *_ in loaded(cfg)]


def test_a_name_that_could_mean_two_files_is_missing(cfg):
    for folder in ('a', 'b'):
        (cfg.root / 'images' / folder).mkdir()
        write_image(cfg.root / 'images' / folder / 'train_0.jpg', *SIZES[0])
    (cfg.root / 'images/train_0.jpg').unlink()
    with pytest.raises(
        DataRefused, match=r"1 of 6 checked .* train_0.jpg. Complete .*train_0.jpg is in '.*/[ab]/'"
    ):
        check_data(cfg)


def test_two_names_that_mean_one_file_are_missing(cfg):
    (cfg.root / 'images/train_1.jpg').unlink()
    edit(cfg.root, lambda whole: whole['images'][1].update(file_name='sub/train_0.jpg'))
    with pytest.raises(DataRefused, match='1 of 6 checked images .*: sub/train_0.jpg'):
        check_data(cfg)


def test_validation_without_annotations_is_refused(cfg):
    edit(cfg.root, lambda whole: whole['annotations'].clear(), 'val')
    with pytest.raises(
        DataRefused, match=r"no box to compare with in '.*val.json': it has no annotations. .* val_cfg=None"
    ):
        check_data(cfg)
    cfg.val_evaluator.format_only = True  # predictions alone
    check_data(cfg)


def test_background_images_alone_beside_others(cfg):
    edit(cfg.root, lambda whole: whole['annotations'].clear(), 'val')
    datasets = [cfg.train_dataloader.dataset, cfg.val_dataloader.dataset.copy()]
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=datasets)
    check_data(cfg, ('train',))


def test_images_without_labels_are_not_asked_for_boxes(cfg):
    """As semi-supervised training reads them."""
    edit(cfg.root, lambda whole: whole['annotations'].clear())
    cfg.train_dataloader.dataset.pipeline[1] = dict(type='LoadEmptyAnnotations')
    check_data(cfg)


def test_val_lists_the_categories_in_another_order(cfg):
    clean = loaded(cfg, 'val')
    edit(cfg.root, lambda whole: whole['categories'].reverse(), 'val')
    prepare_data(cfg)
    assert loaded(cfg, 'val') == clean
    assert cfg.val_evaluator.ann_file.startswith(f'{cfg.root}/work/data/val-')
    assert cfg.val_dataloader.dataset.ann_file == cfg.val_evaluator.ann_file
    assert cfg.train_dataloader.dataset.ann_file == 'annotations/train.json'


def test_val_lists_only_categories_that_it_has(cfg):
    def only_washers(whole):
        whole['categories'] = [dict(id=3, name='washer')]
        whole['annotations'] = [a for a in whole['annotations'] if a['category_id'] == 3]

    edit(cfg.root, only_washers, 'val')
    texts = findings_to_tell(check_data(cfg))
    assert '2 of the 3 classes are not listed: they have no box here: nut, bolt' in texts[0]
    prepare_data(cfg)
    assert {label for *_, boxes in loaded(cfg, 'val') for _, label, _ in boxes} == {2}


def test_val_has_a_category_that_train_lacks(cfg):
    def add(whole):
        whole['categories'].append(dict(id=9, name='rivet'))
        whole['annotations'][0]['category_id'] = 9

    edit(cfg.root, add, 'val')
    assert any(
        '1 categories are none of the configured classes, so their 1 boxes are left out: rivet (1 boxes)'
        in text
        for text in findings_to_tell(check_data(cfg))
    )


def test_train_and_val_share_images(cfg):
    edit(cfg.root, lambda whole: whole['images'][0].update(file_name='train_0.jpg'), 'val')
    texts = findings_to_tell(check_data(cfg))
    assert texts[-1].startswith(
        '1 of the 6 images of val_dataloader.dataset are trained on too, so the metrics say little about '
        'other images: train_0.jpg'
    )


def test_masks_that_are_missing(cfg):
    cfg.train_dataloader.dataset.pipeline[1].with_mask = True
    with pytest.raises(
        DataRefused, match=r'12 of 12 boxes have no segmentation, but the pipeline loads masks'
    ):
        check_data(cfg)
    edit(cfg.root, each('annotations', lambda a: a.update(segmentation=[polygon(a['bbox'])])))
    assert findings_to_tell(check_data(cfg)) == []
    edit(cfg.root, lambda whole: whole['annotations'][0].update(segmentation=[[1, 2]]))
    assert '1 of 12 segmentations are neither polygons' in findings_to_tell(check_data(cfg))[0]


def test_boxes_that_are_not_those_of_their_polygons(cfg):
    """Corners that happen to stay inside the images."""

    def change(whole):
        for annotation in whole['annotations']:
            annotation['segmentation'] = [[2, 3, 12, 3, 12, 14, 2, 14]]
            annotation['bbox'] = [2, 3, 12, 14]

    edit(cfg.root, change)
    with pytest.raises(
        DataRefused, match='12 of 12 boxes are not those around their polygons: .* two corners'
    ):
        check_data(cfg)


def save_turned(path, orientation):
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
def test_exif_turns_an_image_whose_boxes_were_drawn_unturned(cfg, orientation):
    save_turned(cfg.root / 'images/train_1.jpg', orientation)
    with pytest.raises(
        DataRefused,
        match=(
            r'1 of 6 checked images have another size .*: train_1.jpg is 80x48 when loaded and 48x80 in '
            rf'the file \(its EXIF orientation is {orientation}\). EXIF turns all of them by 90 degrees, and '
            r'MMDetection does so on loading: .* set train_dataloader.dataset.pipeline.0.color_type='
            'color_ignore_orientation'
        ),
    ):
        check_data(cfg)
    cfg.train_dataloader.dataset.pipeline[0].color_type = 'color_ignore_orientation'
    check_data(cfg)


def test_exif_turns_an_image_whose_boxes_were_drawn_turned(cfg):
    save_turned(cfg.root / 'images/train_1.jpg', 6)
    edit(cfg.root, lambda whole: whole['images'][1].update(width=80, height=48))
    edit(cfg.root, lambda whole: [a.update(bbox=[2, 2, 9, 9]) for a in whole['annotations'][2:4]])
    check_data(cfg)
    cfg.train_dataloader.dataset.pipeline[0].color_type = 'color_ignore_orientation'
    with pytest.raises(
        DataRefused, match=r'MMDetection does not on loading: .* were turned, set .*color_type=color '
    ):
        check_data(cfg)


@pytest.mark.parametrize('orientation', [2, 3, 4])
def test_exif_turns_an_image_by_180_degrees(cfg, orientation):
    save_turned(cfg.root / 'images/train_1.jpg', orientation)
    texts = findings_to_tell(check_data(cfg))
    assert '1 of 6 checked images have an EXIF orientation that their size does not show' in texts[0]
    assert 'MMDetection does turn them on loading: train_1.jpg. See whether' in texts[0]


def test_exif_turns_a_square_image(cfg):
    write_image(cfg.root / 'images/train_1.jpg', 50, 50)
    save_turned(cfg.root / 'images/train_1.jpg', 6)
    edit(cfg.root, lambda whole: whole['images'][1].update(width=50, height=50))
    assert 'an EXIF orientation that their size does not show' in findings_to_tell(check_data(cfg))[0]


@pytest.mark.parametrize(
    'data, says',
    [
        (b'version https://git-lfs.github.com/spec/v1\n', 'train_2.jpg (a pointer of Git LFS'),
        (b'<!DOCTYPE html><html>', 'train_2.jpg (a web page)'),
        (b'\x00\x00\x00\x18ftypheic' + bytes(60), 'train_2.jpg (a HEIC photo; save it as JPEG)'),
        (b'nothing', 'train_2.jpg (no image that can be decoded)'),
    ],
)
def test_files_that_are_no_images(cfg, data, says):
    (cfg.root / 'images/train_2.jpg').write_bytes(data)
    with pytest.raises(DataRefused) as error:
        check_data(cfg)
    assert f'1 of 6 checked images cannot be decoded: {says}' in str(error.value)


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'CMYK', 'P', '1', 'LA'])
def test_images_of_other_modes_are_read(cfg, mode):
    """Whatever the suffix says."""
    image = Image.new(mode, SIZES[0])
    image.save(cfg.root / 'images/train_0.jpg', 'TIFF' if mode == 'CMYK' else 'PNG')
    assert findings_to_tell(check_data(cfg)) == []


def test_images_with_16_bits(cfg):
    Image.new('I;16', SIZES[0]).save(cfg.root / 'images/train_0.jpg', 'PNG')
    assert (
        '1 images have more than 8 bits per channel, of which 8 are read: train_0.jpg'
        in (findings_to_tell(check_data(cfg))[0])
    )


def test_images_with_several_frames(cfg):
    frames = [Image.new('RGB', SIZES[0], colour) for colour in ('red', 'green')]
    frames[0].save(cfg.root / 'images/train_0.jpg', 'TIFF', save_all=True, append_images=frames[1:])
    frames[0].save(cfg.root / 'images/val_0.jpg', 'MPO', save_all=True, append_images=frames[1:])
    texts = findings_to_tell(check_data(cfg))
    assert (
        len(texts) == 1
        and '1 images have several frames or pages: the first is read: train_0.jpg' in texts[0]
    )


def test_formats_that_the_decoder_does_not_know(cfg):
    """Pillow knows their header, OpenCV may not know the rest."""
    Image.new('RGB', SIZES[0]).save(cfg.root / 'images/train_0.jpg', 'PCX')
    with pytest.raises(DataRefused, match='1 of 6 checked images cannot be decoded: train_0.jpg'):
        check_data(cfg)


def test_images_that_cannot_be_read(cfg, monkeypatch):
    import builtins

    whole = builtins.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith('train_2.jpg'):
            raise PermissionError(13, 'Permission denied')
        return whole(path, *args, **kwargs)

    monkeypatch.setattr('builtins.open', refuse)
    with pytest.raises(DataRefused, match=r'train_2.jpg \(it cannot be read: Permission denied\)'):
        check_data(cfg)


def test_classes_that_are_alike(cfg):
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo.classes = ('nut', 'bolt', 'Nut')
    for part in ('train', 'val'):
        edit(cfg.root, lambda whole: whole['categories'][2].update(name='Nut'), part)
    assert (
        "1 classes differ from others by case, blanks and the like alone: 'nut' and 'Nut'"
        in (findings_to_tell(check_data(cfg))[0])
    )


def test_exif_turns_an_image_without_a_size(cfg):
    save_turned(cfg.root / 'images/train_1.jpg', 6)
    edit(cfg.root, lambda whole: [image.pop('width') for image in whole['images']])
    assert any(
        'an EXIF orientation that their size does not show' in t for t in findings_to_tell(check_data(cfg))
    )


def test_a_folder_in_place_of_an_image(cfg):
    (cfg.root / 'images/train_0.jpg').unlink()
    (cfg.root / 'images/train_0.jpg').mkdir()
    with pytest.raises(DataRefused, match='1 of 6 checked images that it names are not in'):
        check_data(cfg)


def test_several_refusals_are_said_together(cfg):
    edit(cfg.root, lambda whole: whole['annotations'].clear())
    edit(cfg.root, lambda whole: whole['annotations'][0].update(bbox=[1]), 'val')
    with pytest.raises(
        DataRefused, match=r'the data cannot be used:\n- .*no box to train on.*\n- .*val.json.*id 1 has \[1\]'
    ):
        check_data(cfg)


def test_names_that_are_numbers(cfg):
    """A config of such a file has them as text, as read_classes gives them."""
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo.classes = ('1', '2', '3')
    for part in ('train', 'val'):
        edit(cfg.root, each('categories', lambda c: c.update(name=c['id'])), part)
    prepare_data(cfg)
    assert {label for *_, boxes in loaded(cfg) for _, label, _ in boxes} == {0, 1, 2}


def test_ids_of_letters_stay(cfg):
    """They are as good as numbers where all agree, and name images in results that are written."""

    def change(whole):
        for image in whole['images']:
            image['id'] = f'image {image["id"]}'
        for annotation in whole['annotations']:
            annotation['image_id'] = f'image {annotation["image_id"]}'

    clean = loaded(cfg)
    edit(cfg.root, change)
    assert findings_to_tell(check_data(cfg)) == []
    assert loaded(cfg) == clean


def test_content_of_the_helper_is_clean():
    assert json.loads(json.dumps(content('train'))) == content('train')
