"""Small studies of the easy data, for the tests."""

import textwrap

from mmattn.engine import load_config
from tests.squares import small

SITES = 'backbone.layer[3-4].*.residual'
SE = f"dict(insert=[dict(at='{SITES}', block=dict(type='mmattn.SE', reduction=4))])"


def write_base(path, squares, root, **more):
    """Write the config of a narrow detector of the easy data, which trains two epochs."""
    options = small(
        model__backbone__base_channels=8,
        model__neck__in_channels=[8, 16, 32, 64],
        model__test_cfg__score_thr=0.0,
        model__test_cfg__max_per_img=5,
        **dict(dict(train_cfg__max_epochs=2, train_dataloader__batch_size=4), **more),
    )
    load_config(str(root / 'configs/retinanet/retinanet_r18_fpn_folder.py'), str(squares), options).dump(path)
    return path


def write_study(path, **settings):
    """Write the config of a study; each setting is Python source."""
    settings = dict(base="'base.py'", seeds='[0, 1]', variants=f'dict(se={SE})') | settings
    path.write_text(''.join(f'{key} = {textwrap.dedent(value)}\n' for key, value in settings.items()))
    return str(path)
