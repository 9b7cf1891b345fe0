"""What a study measured: every metric of every run, on all images and with each group of images left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Scores:
    """The metrics of all runs of a study, with their delete-a-group jackknife over images.

    All runs have the same images, split at random into the same groups, of sizes that differ by at
    most one image. A metric that is undefined (-1 in COCO's code) is NaN. A run that is missing is NaN in all
    metrics.

    Args:
        variants: Names of the variants.
        seeds: The seeds; a run is a variant with a seed.
        images: Number of images of the evaluation.
        metrics: Names of the metrics, such as ``'bbox/AP50'`` or ``'segm/AP/dog'``.
        values: Metrics on all images, as fractions, (metrics, variants, seeds).
        jackknife: The same with one group of images left out, (metrics, variants, seeds, groups).

    Raises:
        TypeError: A seed or the number of images is no integer.
        ValueError: Names repeat, shapes do not fit, or values cannot be metrics.

    Example:
        >>> import numpy as np
        >>> from mmattn.study import Scores
        >>> scores = Scores(('plain', 'se'), (0, 1, 2), 100, ('bbox/AP',),
        ...                 np.full((1, 2, 3), .3), np.full((1, 2, 3, 20), .3))
        >>> scores.groups
        20
    """

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    images: int
    metrics: tuple[str, ...]
    values: np.ndarray
    jackknife: np.ndarray

    def __post_init__(self) -> None:
        for name in ('variants', 'seeds', 'metrics'):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        for number in (*self.seeds, self.images):
            if not isinstance(number, (int, np.integer)) or isinstance(number, bool):
                raise TypeError(f'seeds and the number of images are integers, not {number!r}')
        for name in ('values', 'jackknife'):
            array = np.array(getattr(self, name), dtype=np.float64)  # a copy that nobody else changes
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        runs = len(self.metrics), len(self.variants), len(self.seeds)
        if self.values.shape != runs:
            raise ValueError(f'values has shape {self.values.shape}, not (metrics, variants, seeds) = {runs}')
        if self.jackknife.ndim != 4 or self.jackknife.shape[:3] != runs:
            raise ValueError(
                f'jackknife has shape {self.jackknife.shape}, not (metrics, variants, seeds, groups) '
                f'= {(*runs, "groups")}'
            )
        if not 2 <= self.groups <= self.images:
            raise ValueError(
                f'{self.groups} groups of {self.images} images: the jackknife needs at least 2 groups, '
                'each with an image'
            )
        self._check_range()

    @property
    def groups(self) -> int:
        """Number of groups of images, each of which the jackknife leaves out once."""
        return self.jackknife.shape[-1]

    def _check_range(self) -> None:
        for name in ('values', 'jackknife'):
            array = getattr(self, name)
            wrong = ~(np.isnan(array) | ((array > -1) & (array <= 1)))
            if wrong.any():
                place = tuple(int(each[0]) for each in np.nonzero(wrong))
                m, v, s = place[:3]
                raise ValueError(
                    f'{name}: {self.metrics[m]} of {self.variants[v]}, seed {self.seeds[s]}, is '
                    f'{array[place]:g}; metrics are fractions between 0 and 1, and NaN where they are '
                    'undefined (-1 in COCO)'
                )


def _names(name: str, given: Sequence) -> tuple:
    if isinstance(given, str):
        raise ValueError(f'{name} is the single string {given!r}, not a tuple of names')
    given = tuple(given)
    if not given:
        raise ValueError(f'{name} is empty: there is nothing to compare')
    repeated = [str(each) for each, count in Counter(given).items() if count > 1]
    if repeated:
        raise ValueError(f'{name} repeats {", ".join(repeated)}')
    return given
