"""Probe of tools/doctor.py: does MMEngine load the checkpoints that its runner saves?"""

import tempfile
from pathlib import Path

import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader


def probe() -> dict:
    """Save the record that each checkpoint of a run holds and load it; return why that is refused."""
    record = dict(state_dict={}, message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1.0], [1]))))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / 'epoch_1.pth')
        torch.save(record, path)
        try:
            CheckpointLoader.load_checkpoint(path, map_location='cpu')
        except Exception as error:
            return dict(refused=f'{type(error).__name__}: {error}'.partition('.')[0])
    return dict(refused='')
