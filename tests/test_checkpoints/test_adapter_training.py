"""From a trained detector to an adapter and back, with the tools' own functions."""

import pytest
import torch

from mmattn import engine
from mmattn.checkpoints import adapter_of_checkpoint, merge_adapter, read_adapter
from tests.squares import metrics_of, small

STOCK = 'configs/retinanet/retinanet_r18_fpn_folder.py'
ATTENDED = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'


@pytest.mark.slow
@pytest.mark.usefixtures('in_project')
def test_an_adapter_trained_and_merged_has_the_ap_that_the_run_printed(squares, tmp_path, monkeypatch):
    squares = str(squares)
    seen = []
    monkeypatch.setattr('mmattn.checkpoints.check.print_log', lambda text, **_: seen.append(text))

    def options(epochs, **more):
        return small(
            train_cfg__max_epochs=epochs,
            train_cfg__val_interval=epochs,
            default_hooks__checkpoint__interval=epochs,
            **more,
        )

    engine.train(STOCK, work_dir=str(tmp_path / 'stock'), data_root=squares, cfg_options=options(8))
    base = tmp_path / 'stock' / 'epoch_8.pth'
    runner = engine.train(
        ATTENDED,
        work_dir=str(tmp_path / 'work'),
        data_root=squares,
        cfg_options=options(
            3,
            load_from=str(base),
            model__freeze_detector=True,
            optim_wrapper__optimizer__lr=0.01,
            custom_hooks=[dict(type='mmattn.AdapterHook', interval=-1)],
        ),
    )
    expected = metrics_of(runner)
    path = tmp_path / 'work' / 'adapter_epoch_3.safetensors'
    adapter = read_adapter(path)
    full = torch.load(tmp_path / 'work' / 'epoch_3.pth', weights_only=False)
    assert adapter_of_checkpoint(full, torch.load(base, weights_only=False)).base == adapter.base
    merged = tmp_path / 'merged.pth'
    merge_adapter(str(base), path, merged)
    found = engine.test(
        ATTENDED, str(merged), work_dir=str(tmp_path / 'test'), data_root=squares, cfg_options=small()
    )
    assert expected and {key: found[key] for key in expected} == expected
    assert seen == [
        'the checkpoint has no attention: 8 blocks start as the identity, and nothing else is missing'
    ]  # of load_from, and nothing of the merged one
    # Evaluated without its attention, it is another detector, and says so.
    engine.test(STOCK, str(merged), work_dir=str(tmp_path / 'test'), data_root=squares, cfg_options=small())
    assert len(seen) == 1 and "detector='RetinaNet', insert=[dict(at='backbone.layer[1-4]" in seen[0]
