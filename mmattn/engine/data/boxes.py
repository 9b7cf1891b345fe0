"""The boxes of an annotation file as arrays, and which of them MMDetection trains on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SMALL, MEDIUM = 32**2, 96**2
"""COCO's limits of the area of small and of medium boxes."""


@dataclass(frozen=True)
class Boxes:
    """The annotations whose image is in the file, with everything as arrays.

    Args:
        numbers: Boxes as in the file, ``(n, 4)``.
        sizes: Width and height of each box's image, ``(n, 2)``; infinite where unknown.
        labels: Position of each category among the configured classes; -1 for others.
        areas: The annotations' areas.
        crowds: Which are crowds, which MMDetection does not train on.
        ignored: Which have a field ``ignore`` that is set.
        images: Position of each box's image in the list of images.
        annotations: The annotations themselves.
    """

    numbers: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    crowds: np.ndarray
    ignored: np.ndarray
    images: np.ndarray
    annotations: Sequence[dict]

    @classmethod
    def read(
        cls,
        images: Sequence[dict],
        categories: Sequence[dict],
        annotations: Sequence[dict],
        classes: Sequence[str],
    ) -> Boxes:
        """Read the boxes of parsed and repaired lists."""
        position = {image['id']: i for i, image in enumerate(images)}
        names = {category['id']: category['name'] for category in categories}
        label = {own: classes.index(name) if name in classes else -1 for own, name in names.items()}
        known = [annotation for annotation in annotations if annotation['image_id'] in position]
        at = np.array([position[annotation['image_id']] for annotation in known], int)
        sizes = np.array(
            [[image.get('width') or np.inf, image.get('height') or np.inf] for image in images], float
        )
        return cls(
            numbers=np.array([annotation['bbox'] for annotation in known], float).reshape(-1, 4),
            sizes=sizes[at].reshape(-1, 2),
            labels=np.array([label.get(annotation['category_id'], -1) for annotation in known], int),
            areas=np.array([annotation['area'] for annotation in known], float),
            crowds=np.array([bool(annotation['iscrowd']) for annotation in known], bool),
            ignored=np.array([bool(annotation.get('ignore')) for annotation in known], bool),
            images=at,
            annotations=known,
        )

    def __len__(self) -> int:
        return len(self.annotations)

    def unusable(self) -> dict[str, np.ndarray]:
        """Return which boxes MMDetection does not train on, each at its first reason."""
        xy, wh = self.numbers[:, :2], self.numbers[:, 2:]
        inside = np.maximum(np.minimum(xy + wh, self.sizes) - np.maximum(xy, 0), 0)
        found = {
            'are marked as ignored': self.ignored,
            'are empty or negative': (wh <= 0).any(1),
            'lie outside their image': inside.prod(1) == 0,
            'have no area': self.areas <= 0,
            'are under a pixel': (wh < 1).any(1),
            'are of no configured class': self.labels < 0,
            'are crowds': self.crowds,
        }
        left = np.ones(len(self), bool)
        for reason, which in found.items():
            found[reason] = which & left
            left &= ~which
        return {reason: which for reason, which in found.items() if which.any()}

    def usable(self) -> np.ndarray:
        """Return which boxes MMDetection trains on."""
        bad = self.unusable().values()
        return ~np.logical_or.reduce(list(bad)) if bad else np.ones(len(self), bool)

    def named(self, which: np.ndarray) -> list[str]:
        """Return the ids and boxes of annotations, for a message."""
        return [
            f'id {self.annotations[i].get("id")} has {self.annotations[i]["bbox"]}'
            for i in np.flatnonzero(which)
        ]
