"""The config of docs/train.md for one's own images trains, with the classes of the data set."""

import re
from pathlib import Path

import torch

from mmattn import engine
from tests.squares import SIZE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs/train.md').read_text(encoding='utf-8')
NARROW = {
    'model.backbone.init_cfg': None,
    'model.backbone.base_channels': 8,
    'model.neck.in_channels': [32, 64, 128, 256],
    'model.neck.out_channels': 32,
    'model.bbox_head.in_channels': 32,
    'model.bbox_head.feat_channels': 32,
    'model.bbox_head.stacked_convs': 1,
    'train_dataloader.dataset.pipeline.2.scale': (SIZE, SIZE),
    'train_dataloader.dataset.indices': 4,
    'train_dataloader.batch_size': 2,
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 2,
}
WORKERS = {
    f'{part}_dataloader.{key}': value
    for part in ('train', 'val', 'test')
    for key, value in dict(num_workers=0, persistent_workers=False).items()
}


def test_two_steps(squares, tmp_path):
    (example,) = re.findall(r'```python\n# my_atss\.py\n(.*?)```', PAGE, flags=re.DOTALL)
    config = tmp_path / 'my_atss.py'
    config.write_text(example.replace('./configs', str(ROOT / 'configs')), encoding='utf-8')
    work_dir = tmp_path / 'work'
    engine.train(str(config), str(work_dir), data_root=str(squares), cfg_options=NARROW | WORKERS)
    checkpoint = torch.load(work_dir / 'epoch_1.pth', weights_only=False)
    state = checkpoint['state_dict']
    assert checkpoint['meta']['iter'] == 2
    assert state['bbox_head.atss_cls.bias'].shape == (2,)  # one base of anchors, two classes
    sites = {key.split('.')[1] for key in state if key.startswith('attention.backbone_')}
    assert len(sites) == 4 + 6 + 3
