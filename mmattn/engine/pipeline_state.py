"""Find what a data set's transforms keep from one sample to the next: images, and generators of their own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

Generator = random.Random | np.random.RandomState | np.random.Generator | torch.Generator

GENERATORS = (random.Random, np.random.RandomState, np.random.Generator, torch.Generator)
_LEAVES = (str, bytes, int, float, np.ndarray, torch.Tensor, type, FunctionType, ModuleType, type(None))
_LONG = 10_000  # a list of samples, not of transforms


def transforms_that_remember(dataset: Any) -> list[str]:
    """Return the names of the transforms that keep images of earlier samples (``CachedMosaic``, ...)."""
    return sorted({type(each).__name__ for each in _parts_of(dataset) if hasattr(each, 'results_cache')})


def own_generators(dataset: Any) -> list[Generator]:
    """Return the generators that the transforms of a data set have of their own."""
    return [each for each in _parts_of(dataset) if isinstance(each, GENERATORS)]


def seed_own_generator(generator: Generator, seed: int) -> None:
    """Seed a generator in place; it may be shared."""
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    elif isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        bits.state = type(bits)(seed).state
    else:
        generator.seed(seed & 0xFFFFFFFF)


def _parts_of(dataset: Any) -> Iterator[Any]:
    """Yield what the pipelines of a data set and of those that it wraps are made of; each object once."""
    todo, seen = list(_pipelines_of(dataset)), set()
    while todo:
        each = todo.pop()
        if isinstance(each, _LEAVES) or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, GENERATORS):
            yield each
        elif isinstance(each, dict):
            todo += each.values()
        elif isinstance(each, (list, tuple, set)):
            todo += each if len(each) < _LONG else ()
        elif hasattr(each, '__dict__'):
            yield each
            todo += vars(each).values()


def _pipelines_of(dataset: Any) -> Iterator[Any]:
    if hasattr(dataset, 'pipeline'):
        yield dataset.pipeline
    inner = [getattr(dataset, 'dataset', None), *(getattr(dataset, 'datasets', None) or ())]
    for each in inner:
        if each is not None:
            yield from _pipelines_of(each)
