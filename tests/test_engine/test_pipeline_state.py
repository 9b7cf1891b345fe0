"""What a data set's transforms keep from one sample to the next."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmattn.engine.pipeline_state import own_generators, seed_own_generator, transforms_that_remember


def test_every_generator_of_a_pipeline_is_found():
    inner = SimpleNamespace(rng=np.random.default_rng(0), state=np.random.RandomState(0))
    outer = SimpleNamespace(many=[inner, dict(x=random.Random(0))], own=torch.Generator(), again=inner)
    dataset = SimpleNamespace(datasets=[SimpleNamespace(dataset=SimpleNamespace(pipeline=[outer]))])
    found = own_generators(dataset)
    assert {type(each) for each in found} == {
        np.random.Generator, np.random.RandomState, random.Random, torch.Generator
    }  # fmt: skip
    assert len(found) == 4 and transforms_that_remember(dataset) == []


@pytest.mark.parametrize(
    'generator, draw',
    [
        (np.random.default_rng(), lambda g: g.random()),
        (np.random.Generator(np.random.Philox()), lambda g: g.random()),
        (np.random.RandomState(), lambda g: g.rand()),
        (random.Random(), lambda g: g.random()),
        (torch.Generator(), lambda g: torch.rand(1, generator=g).item()),
    ],
)
def test_a_generator_is_seeded_in_place(generator, draw):
    seed_own_generator(generator, 2**62 + 1)
    first = draw(generator)
    assert draw(generator) != first
    seed_own_generator(generator, 2**62 + 1)
    assert draw(generator) == first


def test_mmdets_cached_transforms_are_named():
    from mmcv.transforms import Compose
    from mmdet.datasets.transforms import CachedMixUp, CachedMosaic, Mosaic

    pipeline = Compose([Mosaic(), CachedMosaic((8, 8)), CachedMixUp((8, 8))])
    assert transforms_that_remember(SimpleNamespace(pipeline=pipeline)) == ['CachedMixUp', 'CachedMosaic']
