"""tools/test.py on an exported file: what the checkpoint gives, by the same loop and metrics."""

import pickle

import pytest
import torch
from mmengine.structures import InstanceData

from mmattn.engine import test as evaluate
from mmattn.export.agreement import Agreement


@pytest.mark.parametrize(
    'exported', ['single_stage', pytest.param('two_stage', marks=pytest.mark.slow)], indirect=True
)
def test_the_same_predictions_by_the_same_loop(exported, single_stage, two_stage, tmp_path):
    config, checkpoint = next(
        files for files in (single_stage, two_stage) if exported[0].filename == files[0]
    )
    predictions, metrics = [], []
    for i, file in enumerate((checkpoint, exported[2])):
        out = tmp_path / f'{i}.pkl'
        metrics.append(evaluate(config, file, work_dir=str(tmp_path / str(i)), out=str(out)))
        predictions.append(pickle.loads(out.read_bytes()))
    assert metrics[0] == metrics[1] and 'coco/bbox_mAP' in metrics[0]
    agreement = Agreement()
    for first, second in zip(*predictions, strict=True):
        assert first['img_id'] == second['img_id']
        agreement.add(*(InstanceData(**each['pred_instances']) for each in (first, second)))
    assert agreement.images == 8 and agreement.detections > 20 and agreement.share == 1, agreement
    assert torch.is_tensor(first['pred_instances']['bboxes'])
