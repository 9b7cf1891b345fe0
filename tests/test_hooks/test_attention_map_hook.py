"""Overlays of the same images at each evaluation, in every backend."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmattn import engine
from mmattn.hooks import attention_map_hook
from tests.squares import small

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'


@pytest.mark.usefixtures('in_project')
def test_each_evaluation_draws_the_same_images(squares, tmp_path, monkeypatch):
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
def test_a_wrong_number_of_images_is_refused(wrong):
    from mmengine.registry import HOOKS

    with pytest.raises(ValueError, match='AttentionMapHook: pictures=.*; give the number of images'):
        HOOKS.build(dict(type='mmattn.AttentionMapHook', pictures=wrong))
