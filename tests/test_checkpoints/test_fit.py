"""A checkpoint of another model is refused where it would leave the model at random."""

import pytest
from mmdet.models import ResNet
from torch import nn

from mmattn import attach
from mmattn.checkpoints.fit import require_fit


def backbone(width=16):
    return ResNet(18, base_channels=width, stem_channels=width)


def with_attention(width=16, **options):
    return attach(backbone(width), [dict(at='layer4', block=dict(type='mmattn.CBAM', **options))])


@pytest.mark.parametrize('saved', [backbone, with_attention, lambda: with_attention(kernel_size=3)])
@pytest.mark.parametrize('model', [backbone, with_attention])
def test_weights_of_the_same_detector_fit_whatever_its_attention(model, saved):
    require_fit(model(), dict(state_dict=saved().state_dict()), 'a.pth')


def test_a_wrapped_model_has_the_same_names():
    wrapped = nn.Module()
    wrapped.module = backbone()
    require_fit(wrapped, backbone().state_dict(), 'a.pth')


def test_another_width_is_refused():
    with pytest.raises(ValueError) as error:
        require_fit(with_attention(), dict(state_dict=backbone(8).state_dict()), 'a.pth')
    said = str(error.value)
    assert said.startswith("'a.pth' is of another model than the config, or of other classes: ")
    assert (
        'the first is conv1.weight: (8, 3, 7, 7) in the file, (16, 3, 7, 7) in the model. Give the c' in said
    )


def test_another_kind_of_model_is_refused():
    with pytest.raises(
        ValueError, match='it has none of its weights, such as conv1.weight, but weight. Give'
    ):
        require_fit(backbone(), nn.Linear(2, 2).state_dict(), 'a.pth')
