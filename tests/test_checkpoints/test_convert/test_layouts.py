"""The converted backbone computes what a naive model with the source's names computes, in fp64."""

import functools

import pytest
import torch

from mmattn.checkpoints.convert import convert
from tests.reference import resnets
from tests.test_checkpoints.test_convert.helpers import peer, stages

ECA = [functools.partial(resnets.ECA, kernel_size=k) for k in (3, 5, 7, 7)]  # the released R18 has k3577
LAYOUTS = dict(
    timm_se=('timm', 'SE', dict(name='se', attention=(resnets.SE,) * 4)),
    official_eca=('official', 'ECA', dict(name='eca', attention=ECA)),
    official_cbam=('official', 'CBAM', dict(name='cbam', attention=(resnets.CBAM,) * 4)),
    official_bam=('official', 'BAM', dict(attention=(None,) * 4, between=resnets.BAM)),
    insight_se=('pytorchinsight', 'SE', dict(name='se', attention=(resnets.LinearSE,) * 4)),
    insight_sge=('pytorchinsight', 'SGE', dict(name='sge', attention=(resnets.SGE,) * 4)),
    mmpretrain_se=('mmpretrain', 'SE', dict(name='se_layer', attention=(resnets.ConvModuleSE,) * 4)),
)


def weights_of(layout):
    library, blocks, options = LAYOUTS[layout]
    model = peer(**options)
    state = model.state_dict()
    if library == 'mmpretrain':
        state = {
            f'{"head" if key.startswith("fc.") else "backbone"}.{key}': each for key, each in state.items()
        }
    return model, state


QUICK = ('timm_se', 'official_eca', 'official_bam')


@pytest.mark.parametrize(
    'layout', [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in LAYOUTS]
)
def test_equals_a_naive_model(layout):
    library, blocks, _ = LAYOUTS[layout]
    model, state = weights_of(layout)
    conversion = convert(state)
    assert library in conversion.table.library
    assert conversion.backbone == dict(type='ResNet', depth=18, style='pytorch')
    assert {block.type for block in conversion.blocks} == {blocks}
    classifier = {key for key in state if key.removeprefix('head.').startswith('fc.')}
    assert conversion.renamed.dropped == dict.fromkeys(classifier, 'the classifier')
    for found, expected in zip(stages(conversion.build()), stages(model)):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize('layout', ['timm_se', 'official_eca', 'official_cbam'])
def test_equals_a_naive_bottleneck_model(layout):
    library, _, options = LAYOUTS[layout]
    model = peer(**options, blocks=(3, 4, 6, 3), bottleneck=True)
    conversion = convert(model.state_dict())
    assert conversion.model.name in ('seresnet50', 'eca_resnet50', 'cbam_resnet50')
    for found, expected in zip(stages(conversion.build()), stages(model)):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_the_kernel_size_of_each_stage_is_inferred():
    conversion = convert(weights_of('official_eca')[1])
    assert (
        conversion.insert
        == [  # 3 and 5 are the adaptive sizes of 64 and 128 channels, 7 that of none here
            dict(at='backbone.layer[1-2].*.residual', block=dict(type='mmattn.ECA')),
            dict(at='backbone.layer[3-4].*.residual', block=dict(type='mmattn.ECA', kernel_size=7)),
        ]
    )


def test_options_that_differ_from_the_defaults_are_written():
    conversion = convert(weights_of('timm_se')[1])
    assert conversion.insert == [  # timm rounds the hidden width of 64 channels up to 8
        dict(at='backbone.layer1.*.residual', block=dict(type='mmattn.SE', reduction=8)),
        dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.SE')),
    ]


def test_names_without_counters_of_batches():
    """PyTorch before 0.4.1 saved none; the official CBAM checkpoint is that old."""
    model, state = weights_of('official_cbam')
    old = {key: value for key, value in state.items() if not key.endswith('num_batches_tracked')}
    for found, expected in zip(stages(convert(old).build()), stages(model)):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
