"""Each mappable model, built by its own library with random weights and statistics, equals what it becomes.

``--verify`` does the same with the weights of a file.
"""

import importlib.util

import pytest
import torch

from mmattn.checkpoints.convert import NotConverted, convert, known_models, verify
from mmattn.checkpoints.convert.peers import NoPeer, build_peer
from tests.test_checkpoints.test_convert.helpers import peer, randomise

LIBRARIES = ('timm', 'pytorchcv', 'mmpretrain')
MODELS = [each for each in known_models() if each.library in LIBRARIES and not each.refused]


@pytest.mark.slow
@pytest.mark.parametrize('known', MODELS, ids=lambda each: f'{each.library}-{each.name}')
def test_each_model(known):
    if importlib.util.find_spec(known.library) is None:
        pytest.skip(f'{known.library} is not installed')
    model = randomise(build_peer(known)[0])
    prefix = 'backbone.' if known.library == 'mmpretrain' else ''
    weights = {prefix + key: value for key, value in model.state_dict().items()}
    conversion = convert(weights, known.library, known.name)
    found = {key: conversion.backbone[key] for key in known.backbone}
    assert found == known.backbone
    assert {block.type for block in conversion.blocks} <= {known.blocks}
    assert max(verify(conversion, weights)) < 1e-10


REFUSED = [each for each in known_models() if each.library == 'timm' and each.refused]


@pytest.mark.slow
@pytest.mark.parametrize('known', REFUSED, ids=lambda each: each.name)
def test_each_refused_model_is_recognised_without_its_name(known):
    if importlib.util.find_spec('timm') is None:
        pytest.skip('timm is not installed')
    with torch.device('meta'):
        weights = build_peer(known)[0].state_dict()
    with pytest.raises(NotConverted):
        convert(weights)


def test_no_library_to_compare_with():
    weights = peer('eca', (None,) * 4).state_dict()
    weights |= {f'layer{i}.{j}.eca.conv.weight': torch.zeros(1, 1, 3) for i in range(1, 5) for j in range(2)}
    with pytest.raises(
        NoPeer, match='official is no library that can be installed, so its eca_resnet18 cannot be'
    ):
        verify(convert(weights), weights)


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr('mmattn.checkpoints.convert.peers.find_spec', lambda name: None)
    with pytest.raises(NoPeer, match='^timm is not installed: pip install timm$'):
        build_peer(MODELS[0])
