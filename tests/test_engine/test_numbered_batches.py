"""Batches know the iteration that they are for, and samples follow from it."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, Dataset

from mmattn.engine.numbered_batches import NumberedBatch, NumberedBatches, SeededSamples, number_batches


class Shaky(Dataset):
    def __len__(self):
        return 11

    def __getitem__(self, index):
        return index + random.random() + np.random.random() + torch.rand(1)


def test_a_sample_follows_from_seed_iteration_index_and_how_often_it_is_drawn():
    make = SeededSamples(Shaky(), 1)
    first = make(NumberedBatch([3, 4, 3], 7))
    assert first[0] != first[2]
    assert make(pickle.loads(pickle.dumps(NumberedBatch([4, 3], 7)))) == [first[1], first[0]]
    for other in (make(NumberedBatch([3], 8)), SeededSamples(Shaky(), 2)(NumberedBatch([3], 7))):
        assert other[0] != first[0]
    assert len({x.item() for x in make([3, 3])}) == 2  # a batch that nobody numbered


def batches(sampler, iteration=lambda: 0):
    return NumberedBatches(BatchSampler(sampler(Shaky(), seed=1), 3, drop_last=False), 1, iteration)


def test_it_rounds_for_the_batch_sampler_that_it_numbers():
    numbered = batches(DefaultSampler)
    assert (len(numbered), numbered.batch_size, type(numbered.sampler)) == (4, 3, DefaultSampler)
    with pytest.raises(AttributeError, match='no attribute'):
        numbered.nothing  # noqa: B018


@pytest.mark.parametrize('skipped', range(5))
def test_skipped_batches_count(skipped):
    whole = list(batches(DefaultSampler))
    assert [batch.number for batch in whole] == [0, 1, 2, 3]
    rest = batches(DefaultSampler, lambda: skipped)
    rest.skip(skipped)
    assert [(list(b), b.number) for b in rest] == [(list(b), b.number) for b in whole[skipped:]]


@pytest.mark.parametrize('iteration', range(10))
def test_going_to_an_iteration_is_going_there_step_by_step(iteration):
    """Over the ends of rounds, of which MMEngine tells the sampler the number."""
    expected, epoch = [], 0
    numbered = batches(DefaultSampler, lambda: len(expected))
    while len(expected) < 12:
        numbered.sampler.set_epoch(epoch)
        expected += [(list(batch), batch.number) for batch in numbered]
        epoch += 1
    found = expected[:iteration]
    numbered = batches(DefaultSampler, lambda: len(found))
    rounds = numbered.go_to(iteration)
    assert rounds == max(iteration - 1, 0) // 4
    while len(found) < 12:
        found += [(list(batch), batch.number) for batch in numbered]
        rounds += 1
        numbered.sampler.set_epoch(rounds)
    assert found == expected


def test_an_endless_sampler_goes_on():
    first = iter(batches(InfiniteSampler))
    expected = [list(next(first)) for _ in range(9)]
    numbered = batches(InfiniteSampler, lambda: 5)
    assert numbered.go_to(5) == 0
    rest = iter(numbered)
    assert [list(next(rest)) for _ in range(4)] == expected[5:]


def test_no_batch_is_an_error():
    numbered = NumberedBatches([], 1, lambda: 0)
    with pytest.raises(ValueError, match='the training data gives no batch'):
        numbered.go_to(1)


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_a_loader_gives_the_same_with_any_number_of_workers(workers):
    loader = DataLoader(Shaky(), 3, num_workers=workers, persistent_workers=workers == 2)
    number_batches(loader, 1, lambda: 2)
    number_batches(loader, 1, lambda: 4)  # a second time replaces the first
    make = SeededSamples(Shaky(), 1)
    expected = [torch.stack(make(NumberedBatch(range(i, min(i + 3, 11)), 4 + i // 3))) for i in (0, 3, 6, 9)]
    for _ in range(2):
        assert all(torch.equal(*pair) for pair in zip(loader, expected, strict=True))
