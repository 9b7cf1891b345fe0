"""An epoch on real images: COCO's 80 classes, crowd boxes, images without objects."""

import math

import pytest

from mmattn import engine


@pytest.mark.slow
@pytest.mark.parametrize('block', ['se', 'cbam', 'eca'])
@pytest.mark.parametrize('detector', ['faster-rcnn', 'retinanet'])
def test_an_epoch_of_coco(detector, block, test_data, tmp_path, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    monkeypatch.setenv('MMATTN_DATA_ROOT', str(test_data / 'smoke_coco'))
    config = f'configs/{block}/{detector}_r18-{block}_fpn_folder.py'
    # A detector this young is sure of nothing, so all its boxes are looked at.
    threshold = 'model.test_cfg.rcnn' if detector == 'faster-rcnn' else 'model.test_cfg'
    options = {
        'model.backbone.init_cfg': None,
        'train_cfg.max_epochs': 1,
        f'{threshold}.score_thr': 0.0,
        'default_hooks.logger.interval': 1,
    }
    for part in ('train', 'val', 'test'):
        options[f'{part}_dataloader.num_workers'] = 0
        options[f'{part}_dataloader.persistent_workers'] = False
        step = 2 if part == 'train' else 1
        options[f'{part}_dataloader.dataset.pipeline.{step}.scale'] = (160, 160)
    if detector == 'faster-rcnn':
        options['model.train_cfg.rcnn.sampler.num'] = 64
    runner = engine.train(config, work_dir=str(tmp_path), cfg_options=options)
    scalars = runner.message_hub.log_scalars
    losses = scalars['train/loss'].data[0]
    assert len(losses) == 4 and all(math.isfinite(loss) for loss in losses)
    assert len(runner.train_dataloader.dataset) == 14  # those without objects too
    found = engine.test(config, str(tmp_path / 'epoch_1.pth'), work_dir=str(tmp_path), cfg_options=options)
    assert 'coco/bbox_mAP' in found
    assert found == {key: scalars[f'val/{key}'].current() for key in found}
