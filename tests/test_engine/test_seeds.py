"""Random numbers that follow from where they are used."""

import random

import numpy as np
import pytest
import torch

from mmattn.engine.seeds import seed_at, seed_generators


def drawn():
    return random.random(), np.random.random(), torch.rand(1).item()


def test_a_seed_follows_from_its_place_in_any_process():
    assert seed_at(3, 'step', 7, 0) == 8154283395752387930
    places = [
        (s, where, i, r) for s in range(3) for where in ('step', 'batch') for i in range(20) for r in range(3)
    ]
    seeds = {seed_at(*place) for place in places}
    assert len(seeds) == len(places) and all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize('seed', [0, 2**63 - 1])
def test_all_generators_are_seeded(seed):
    seed_generators(seed)
    first = drawn()
    assert drawn() != first
    seed_generators(seed)
    assert drawn() == first


def test_other_devices_are_seeded_by_pytorch(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch, 'manual_seed', seeded.append)
    monkeypatch.setattr(torch.cuda, 'manual_seed_all', lambda seed: seeded.append(('cuda', seed)))
    for device in ('cpu', 'cuda', 'xpu'):
        seed_generators(5, device)
    assert seeded == [('cuda', 5), 5]
