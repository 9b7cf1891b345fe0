"""tools/show_attention.py and AttentionMapHook on a detector and a data set."""

import os

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmattn import engine
from mmattn.engine.build_model import build_model
from mmattn.hooks import attention_map_hook
from mmattn.visualization import Inspector, show_attention

from .squares import CLASSES, as_arguments, small

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'
SE = 'configs/se/retinanet_r18-se_fpn_folder.py'
STOCK = 'configs/retinanet/retinanet_r18_fpn_folder.py'


pytestmark = pytest.mark.usefixtures('in_project')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Folder of a wide image and a tall one."""
    folder = tmp_path_factory.mktemp('images')
    for name, size in (('wide', (60, 140)), ('tall', (140, 60))):
        cv2.imwrite(str(folder / f'{name}.png'), np.full((*size, 3), 90, np.uint8))
    return folder


@pytest.fixture(scope='module')
def checkpoint(squares, tmp_path_factory, request):
    """A checkpoint of each config, untrained: what is drawn does not depend on it."""
    folder = tmp_path_factory.mktemp('checkpoints')

    def write(config):
        path = folder / (os.path.basename(config) + '.pth')
        if not path.exists():
            torch.manual_seed(0)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv('MMATTN_DATA_ROOT', str(squares))
                model = build_model(str(request.config.rootpath / config), options())
            meta = dict(dataset_meta=dict(classes=CLASSES))
            torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
        return str(path)

    return write


def options():
    return small(model__test_cfg__score_thr=0.0, model__test_cfg__max_per_img=5)


def test_the_tool_on_a_folder_against_another_detector(squares, images, checkpoint, tmp_path, run_tool):
    others = ['--compare', SE, checkpoint(SE), '--out-dir', tmp_path / 'out', '--score-thr', 0]
    done = run_tool(
        'show_attention.py',
        *(CONFIG, checkpoint(CONFIG), images, *others, '--data-root', squares),
        *as_arguments(options()),
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f'2 of 2 image(s): sheets, arrays, and {tmp_path}/out/index.html'
    assert sorted(os.listdir(tmp_path / 'out')) == [
        'index.html',
        'tall.npz',
        'tall.png',
        'wide.npz',
        'wide.png',
    ]
    with np.load(tmp_path / 'out/tall.npz') as arrays:
        names = [os.path.splitext(os.path.basename(config))[0] for config in (CONFIG, SE)]
        assert {name.split('/')[0] for name in arrays} == set(names)
        assert arrays[f'{names[0]}/backbone.layer1.0.residual/spatial'].shape[:2] == (1, 1)
        assert arrays[f'{names[1]}/backbone.layer4.1.residual/channel'].shape == (1, 512, 1, 1)
        image = arrays[f'{names[0]}/picture']
        assert image.shape == (640, round(640 * 60 / 140), 3) and (image == 90).all()
        assert f'{names[1]}/backbone.layer1.0.residual/spatial' not in arrays
    page = (tmp_path / 'out/index.html').read_text()
    assert all(f'<h3>{name}</h3>' in page for name in names) and 'tall.png' in page


def test_what_goes_wrong_is_said_in_a_line(squares, images, checkpoint, tmp_path):
    one = Inspector(CONFIG, checkpoint(CONFIG), str(squares), options(), score_thr=0.0)
    plain = Inspector(STOCK, checkpoint(STOCK), str(squares), options(), score_thr=0.0)
    image = str(images / 'wide.png')
    with pytest.raises(ValueError, match='no attention with gates in plain'):
        show_attention({'plain': plain}, [image], str(tmp_path / 'a'))
    assert not (tmp_path / 'a').exists()
    with pytest.raises(ValueError, match="'neck.x' matches no site that has a gate; nearest: backbone"):
        show_attention({'one': one}, [image], str(tmp_path / 'a'), ['neck.x'])
    written = show_attention(
        {'one': one, 'plain': plain}, [image], str(tmp_path / 'a'), ['backbone.layer4.**']
    )
    assert [os.path.basename(each) for each in written] == ['wide.png', 'wide.npz', 'index.html']
    with np.load(written[1]) as arrays:
        assert {name.split('/')[1] for name in arrays if name.startswith('one/backbone')} == {
            'backbone.layer4.0.residual',
            'backbone.layer4.1.residual',
        }
    with pytest.raises(FileExistsError, match='wide.png exists already: give another --out-dir'):
        show_attention({'one': one}, [image], str(tmp_path / 'a'))
    (tmp_path / 'bad.png').write_text('no picture')
    (tmp_path / 'empty.png').touch()
    with pytest.raises(
        ValueError,
        match="bad.png' cannot be read as an image; '.*empty.png' cannot be "
        'read as an image. The other 1 of 3 are in',
    ):
        show_attention(
            {'one': one},
            [str(tmp_path / 'bad.png'), image, str(tmp_path / 'empty.png')],
            str(tmp_path / 'b'),
        )
    assert sorted(os.listdir(tmp_path / 'b')) == ['index.html', 'wide.npz', 'wide.png']
    with pytest.raises(FileExistsError, match='wide.png is one of the images, and its sheet would'):
        show_attention({'one': one}, [image], str(images), overwrite=True)
    assert cv2.imread(image).shape == (60, 140, 3)
    assert len(one.dataset_images('val')) == 8 and one.dataset_images('train')[0].endswith('train_0.png')


def test_overlays_of_the_same_pictures_at_each_evaluation(squares, tmp_path, monkeypatch):
    """In every backend; with a moving average, of the averaged weights, which are evaluated."""
    seen = []
    inspect_image = attention_map_hook.inspect_image

    def watch(model, *args):
        seen.append(model.backbone.conv1.weight.detach().clone())
        return inspect_image(model, *args)

    monkeypatch.setattr(attention_map_hook, 'inspect_image', watch)
    runner = engine.train(
        CONFIG,
        work_dir=str(tmp_path),
        data_root=str(squares),
        cfg_options=small(
            train_cfg__max_epochs=2,
            train_cfg__val_interval=1,
            custom_hooks=[
                dict(
                    type='mmattn.AttentionMapHook', pictures=[1, 3], sites=['backbone.layer[34].**'], dpi=30
                ),
                dict(type='EMAHook', momentum=0.5),
            ],
            # its own name: MMEngine would reuse the visualizer of an earlier run in this process
            visualizer__name=tmp_path.name,
            visualizer__vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
        ),
    )
    runner.visualizer.close()
    images = sorted(path.name for path in tmp_path.rglob('vis_image/*.png'))
    assert images == [
        'attention_val_1_4.png',
        'attention_val_1_8.png',
        'attention_val_3_4.png',
        'attention_val_3_8.png',
    ]
    with Image.open(next(tmp_path.rglob('attention_val_1_8.png'))) as image:
        assert image.width == 450 and np.asarray(image).std() > 20
    event_accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    (file,) = tmp_path.rglob('events.out.tfevents*')
    events = event_accumulator.EventAccumulator(str(file)).Reload()
    assert {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()['images']} == {
        'attention_val_1': [4, 8],
        'attention_val_3': [4, 8],
    }
    last = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)
    averaged, trained = last['state_dict'], last['ema_state_dict']  # EMAHook swaps them in checkpoints
    assert len(seen) == 4 and seen[-1].equal(averaged['backbone.conv1.weight'])
    assert not seen[-1].equal(trained['module.backbone.conv1.weight'])
    assert not any(m._forward_hooks for m in runner.model.modules())


@pytest.mark.parametrize('wrong', [0, -1, True, [], [-1], 'x', [0.5]])
def test_wrong_numbers_of_pictures(wrong):
    from mmengine.registry import HOOKS

    with pytest.raises(ValueError, match='AttentionMapHook: pictures=.*; give the number of images'):
        HOOKS.build(dict(type='mmattn.AttentionMapHook', pictures=wrong))
