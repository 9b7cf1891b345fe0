"""Training on what an exporter wrote otherwise than COCO: the same as on COCO's own, or refused."""

import json
import os

import pytest

from mmattn import engine
from tests.squares import as_arguments, small, write_squares
from tests.test_tools.test_distributed import metrics, shell

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'
# a detector this young is sure of nothing
OPTIONS = small(
    train_cfg__max_epochs=1,
    train_cfg__val_interval=1,
    model__test_cfg__score_thr=0.0,
    model__test_cfg__nms_pre=50,
    model__test_cfg__max_per_img=20,
)


pytestmark = pytest.mark.usefixtures('in_project')


def edit(root, part, change, encoding='utf-8'):
    file = root / 'annotations' / f'{part}.json'
    content = json.loads(file.read_text(encoding='utf-8'))
    change(content)
    file.write_text(json.dumps(content), encoding=encoding)


def odd(content):
    """All at once: what converters of other formats, pandas and Windows leave."""
    for image in content['images']:
        image.update(id=f'{image["id"]:05}', file_name=f'C:\\set\\images\\{image["file_name"]}')
        del image['width'], image['height']
    for annotation in content['annotations']:
        annotation.update(
            id=annotation['id'] - 1,
            image_id=float(annotation['image_id']),
            category_id=str(annotation['category_id']),
            bbox=[str(value) for value in annotation['bbox']],
        )
        del annotation['area'], annotation['iscrowd']


def odd_in_another_order(content):
    odd(content)
    content['categories'].reverse()


def train(root, work_dir):
    runner = engine.train(
        CONFIG,
        work_dir=str(work_dir),
        data_root=str(root),
        cfg_options=OPTIONS,
    )
    scalars = runner.message_hub.log_scalars
    return {key: scalars[key].data[0].tolist() for key in scalars if 'loss' in key or 'bbox_mAP' in key}


@pytest.mark.slow
def test_an_odd_export_trains_as_cocos_own(tmp_path):
    """Every loss and every metric has the same bits; so has the test of the checkpoint."""
    root = write_squares(tmp_path / 'squares', train=4, val=4)
    clean = train(root, tmp_path / 'clean')
    assert {'train/loss', 'val/coco/bbox_mAP'} <= clean.keys()
    edit(root, 'train', odd, 'utf-8-sig')
    edit(root, 'val', odd_in_another_order, 'utf-16')
    assert train(root, tmp_path / 'odd') == clean
    log = next((tmp_path / 'odd').glob('*/*.log')).read_text()  # what was told before the run had a log file
    assert '(read right) 4 of 4 images have no usable width and height' in log
    left = tmp_path / 'odd' / os.path.basename(CONFIG)
    found = engine.test(str(left), str(tmp_path / 'odd/epoch_1.pth'), work_dir=str(tmp_path / 'test'))
    assert {f'val/{key}': [value] for key, value in found.items()}.items() <= clean.items()
    assert list((tmp_path / 'test/data').glob('val-*.json'))  # it made a copy of its own
    assert '(read right)' in next((tmp_path / 'test').glob('*/*.log')).read_text()


@pytest.mark.slow
def test_two_processes_train_on_an_odd_export(tmp_path):
    """One writes the copy and leaves out what cannot be used, and both read it."""
    root = write_squares(tmp_path / 'squares', train=6, val=4)
    edit(root, 'train', odd, 'utf-8-sig')
    edit(root, 'val', odd_in_another_order, 'utf-16')
    (root / 'images/train_5.png').write_bytes(b'')
    (root / 'images/train_4.png').write_bytes((root / 'images/train_4.png').read_bytes()[:-500])
    (root / 'images/val_3.png').unlink()
    options = as_arguments({**OPTIONS, 'train_dataloader.batch_size': 1})
    flags = ('--work-dir', tmp_path / 'work', '--data-root', root, '--drop-bad-images', *options)
    done = shell('dist_train.sh', CONFIG, 2, *flags)
    assert done.returncode == 0, done.stderr[-20000:]
    printed = done.stdout + done.stderr
    assert 'Epoch(train) [1][2/2]' in printed and len(metrics(done)) == 6
    assert printed.count('images are left out') == 3  # told once
    listed = sorted(path.read_text() for path in (tmp_path / 'work/data').glob('*.dropped.txt'))
    assert [line.partition('\t')[2] for text in listed for line in text.splitlines()] == [
        'missing',
        'an empty file',
        'cannot be decoded',
    ]


def test_a_refusal_is_a_message_alone(tmp_path, run_tool):
    root = write_squares(tmp_path / 'squares', train=4, val=4)

    def corners(content):
        for annotation in content['annotations']:
            x, y, width, height = annotation['bbox']
            annotation['bbox'] = [x, y, x + width, y + height]

    edit(root, 'train', corners)
    options = ('--work-dir', tmp_path / 'work', '--data-root', root, *as_arguments(small()))
    done = run_tool('train.py', CONFIG, *options)
    assert done.code == 2 and 'Traceback' not in done.err
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("train.py: the annotation file '") and 'the numbers look like two corners' in last
    assert not list((tmp_path / 'work').rglob('*.pth'))
