"""Number the batches of a data loader, so that each sample's random numbers follow from its place in the run.

The batch sampler runs in the main process, ahead of training; samples are made there or in worker processes,
which may outlive an epoch. So the number of the iteration that a batch is for travels with the batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch.utils.data import BatchSampler, DataLoader

from mmattn._private_apis import replace_batch_sampler
from mmattn.engine.pipeline_state import own_generators, seed_own_generator
from mmattn.engine.seeds import seed_at, seed_generators


class NumberedBatch(list):
    """The indices of a batch, with the number of the iteration that it is for."""

    def __init__(self, indices: Iterable, number: int):
        super().__init__(indices)
        self.number = number


class NumberedBatches(BatchSampler):
    """A batch sampler that numbers the batches of another one, and can start where a run stopped.

    Random numbers that the other one draws from global generators are a function of the seed and the
    batch's number, alike in all processes.

    Args:
        batches: The batch sampler of the data loader.
        seed: Seed of the run, the same in all processes.
        iteration: Returns the iteration that is due when the data loader starts an iterator.
    """

    def __init__(self, batches: Iterable, seed: int, iteration: Callable[[], int]):
        self.batches = batches
        self._seed = seed
        self._iteration = iteration
        self._skipped = 0
        self._begun: Iterator | None = None

    def __iter__(self) -> Iterator[NumberedBatch]:
        number = self._iteration()
        batches, self._begun = self._begun or iter(self.batches), None
        skipped, self._skipped = self._skipped, 0
        for earlier in range(number - skipped, number):
            self._next(batches, earlier)
        while True:
            batch = self._next(batches, number)
            if batch is None:
                return
            yield NumberedBatch(batch, number)
            number += 1

    def __len__(self) -> int:
        return len(self.batches)

    def __getattr__(self, name: str) -> Any:
        if name == 'batches':  # not set yet, in a copy
            raise AttributeError(name)
        return getattr(self.batches, name)

    def skip(self, number: int) -> None:
        """Leave out the first batches of the next round, which the run has had."""
        self._skipped = number

    def go_to(self, iteration: int) -> int:
        """Go through the batches up to an iteration unloaded; return the number of full rounds."""
        rounds, batches = 0, iter(self.batches)
        set_epoch(self.batches, 0)
        number = begun = 0
        while number < iteration:
            if self._next(batches, number) is not None:
                number += 1
            elif number == begun:
                raise ValueError('the training data gives no batch')
            else:
                rounds, batches, begun = rounds + 1, iter(self.batches), number
                set_epoch(self.batches, rounds)
        self._begun = batches
        return rounds

    def begin_round(self) -> None:
        """Start with a new round, though the last one was not seen to end."""
        self._begun = None

    def _next(self, batches: Iterator, number: int) -> Any:
        seed_generators(seed_at(self._seed, 'batch', number))
        return next(batches, None)


def set_epoch(batches: Any, epoch: int) -> None:
    """Tell the sampler of a batch sampler the epoch, as MMEngine does, if it wants to know."""
    sampler = getattr(batches, 'sampler', None)
    if hasattr(sampler, 'set_epoch'):
        sampler.set_epoch(epoch)


class SeededSamples:
    """Make the samples of a numbered batch: each with the random numbers of its place in the run.

    ``DataLoader`` calls it as the data set's ``__getitems__``.

    Args:
        dataset: Data set of the loader.
        seed: Seed of the run, the same in all processes.
    """

    def __init__(self, dataset: Any, seed: int):
        self.dataset = dataset
        self.seed = seed
        self._searched: Any = None
        self._own: list = []

    def __call__(self, batch: list) -> list:
        if not isinstance(batch, NumberedBatch):
            return [self.dataset[index] for index in batch]
        if self._searched is not getattr(self.dataset, 'pipeline', self):  # hooks switch pipelines
            self._searched = getattr(self.dataset, 'pipeline', self)
            self._own = own_generators(self.dataset)
        samples, drawn = [], Counter()
        for index in batch:
            seed = seed_at(self.seed, 'sample', batch.number, str(index), drawn[index])
            drawn[index] += 1
            seed_generators(seed)
            for number, generator in enumerate(self._own):
                seed_own_generator(generator, seed + number)
            samples.append(self.dataset[index])
        return samples


def number_batches(loader: DataLoader, seed: int, iteration: Callable[[], int]) -> NumberedBatches:
    """Let a data loader number its batches and seed its samples; call it before the loader is used."""
    batches = loader.batch_sampler
    batches = batches.batches if isinstance(batches, NumberedBatches) else batches
    numbered = NumberedBatches(batches, seed, iteration)
    replace_batch_sampler(loader, numbered)
    loader.dataset.__getitems__ = SeededSamples(loader.dataset, seed)
    return numbered
