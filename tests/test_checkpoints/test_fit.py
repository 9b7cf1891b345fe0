"""A checkpoint of another model is refused where it would leave the model at random."""

import pytest
from mmdet.models import ResNet
from torch import nn

from mmattn import attach
from mmattn.checkpoints import fit
from mmattn.checkpoints.fit import require_fit, require_weights_for


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


@pytest.fixture
def logged(monkeypatch):
    found = []
    monkeypatch.setattr(fit, 'print_log', lambda text, **options: found.append(text))
    return found


def prefixed(prefix='backbone.', width=16):
    return {prefix + name: weight for name, weight in with_attention(width).state_dict().items()}


@pytest.mark.parametrize(
    'saved, prefix',
    [(prefixed(), 'backbone.'), (dict(state_dict=prefixed('module.')), ''), (prefixed('a.b.'), 'a.b.')],
)
def test_weights_of_the_part_are_found(saved, prefix, logged):
    require_weights_for(with_attention(), saved, "'a.pth'", prefix)
    assert not logged


@pytest.mark.parametrize(
    'saved, prefix, says',
    [
        (
            prefixed(),
            '',
            "conv1.weight, but backbone.conv1.weight. With prefix='backbone.' it has 100 of them",
        ),
        (
            backbone().state_dict(),
            'backbone.',
            'backbone.conv1.weight, but conv1.weight. With no prefix it has',
        ),
        (nn.Linear(2, 2).state_dict(), '', 'conv1.weight, but weight. Name a file with weights of ResNet'),
        (backbone(8).state_dict(), '', 'conv1.weight, but conv1.weight. Name a file'),
        (dict(model=backbone().state_dict()), '', 'conv1.weight, but no tensor. Name a file'),
    ],
)
def test_weights_of_another_network_are_refused(saved, prefix, says):
    with pytest.raises(ValueError) as error:
        require_weights_for(with_attention(), saved, "'a.pth' (load_from)", prefix)
    said = str(error.value)
    assert said.startswith("'a.pth' (load_from) has none of the 100 weights of ResNet") and says in said


def test_a_file_with_few_of_the_weights_is_told(logged):
    saved = {name: weight for name, weight in backbone().state_dict().items() if 'layer' not in name}
    require_weights_for(backbone(), saved, "'a.pth'")
    assert logged == ["'a.pth' has 5 of the 100 weights of ResNet; the others keep their initial values"]


def test_a_mean_teacher_takes_the_weights_of_its_student():
    detector, teacher = nn.Module(), nn.Module()
    detector.backbone = backbone()
    teacher.student, teacher.teacher = detector, nn.Module()
    require_weights_for(teacher, prefixed(), "'a.pth'")
    with pytest.raises(ValueError, match='none of the 100 weights of'):
        require_weights_for(teacher, prefixed(width=8), "'a.pth'")


def test_attention_alone_is_no_other_network():
    require_weights_for(
        with_attention(), {f'attention.{i}': weight for i, weight in enumerate(backbone().parameters())}, 'x'
    )
