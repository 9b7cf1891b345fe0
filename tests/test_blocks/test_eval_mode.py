"""A context of eval mode leaves each flag as it was, which PyTorch's exporter by TorchScript does not."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mmattn.blocks import CBAM
from mmattn.blocks.contract import EXPORTERS
from mmattn.blocks.eval_mode import in_eval_mode


def mixed_model():
    """In training mode with a norm in eval mode, as norm_eval and frozen stages leave a detector."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), CBAM(8)).train()
    model[1].training = False
    return model


def flags_of(model):
    return {name: module.training for name, module in model.named_modules()}


def test_flags_are_set_and_come_back_after_an_error_too():
    model = mixed_model()
    before = flags_of(model)
    with pytest.raises(KeyError), in_eval_mode(model):
        assert not any(flags_of(model).values())
        model.train()
        raise KeyError
    assert flags_of(model) == before and set(before.values()) == {True, False}


@pytest.mark.filterwarnings('ignore')  # PyTorch's own, on its exporters
@pytest.mark.parametrize(
    'exporter, opset', [('torchscript', 11), pytest.param('dynamo', 18, marks=pytest.mark.slow)]
)
def test_an_exported_model_has_the_flags_that_it_had(exporter, opset, tmp_path):
    for module in ('onnxscript', 'onnxruntime'):
        pytest.importorskip(module)
    model, image, file = mixed_model(), torch.randn(2, 3, 9, 6), str(tmp_path / 'model.onnx')
    before = flags_of(model)
    with in_eval_mode(model):
        EXPORTERS[exporter].export(model, image, file, opset, 1)
    assert Path(file).is_file() and flags_of(model) == before
    if exporter == 'torchscript':  # docs/export_blocks.md says what happens otherwise
        EXPORTERS[exporter].export(model, image, file, opset, 1)
        assert all(flags_of(model).values())
