"""The public models that are known by name: which backbone each has, or why none."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmattn.checkpoints.convert.errors import NotConverted, NotMappable


@dataclass(frozen=True)
class KnownModel:
    """A public model.

    Attributes:
        library: Where it comes from, as ``--from`` calls it.
        name: Its name there.
        blocks: Type of its attention blocks.
        backbone: Config of MMDetection's backbone that computes the same.
        weights: Top-1 accuracy on ImageNet by the tag of published weights, as their authors report it at 224
            pixels; ``None`` where that is not known.
        refused: Why it cannot be converted; empty if it can.
    """

    library: str
    name: str
    blocks: str = ''
    backbone: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float | None] = field(default_factory=dict)
    refused: str = ''

    def require_mappable(self) -> None:
        """Raise :class:`NotMappable` with the reason if it cannot be converted."""
        if self.refused:
            raise NotMappable(f"{self.library}'s {self.name} cannot be converted: {self.refused}")


@functools.cache
def known_models() -> tuple[KnownModel, ...]:
    """Return all models that are known by name."""
    entries = json.loads(Path(__file__).with_name('models.json').read_text(encoding='utf-8'))
    return tuple(KnownModel(**entry) for entry in entries)


def models_of(libraries: Iterable[str]) -> dict[str, KnownModel]:
    """Return the models of some libraries by name."""
    libraries = tuple(libraries)
    return {each.name: each for each in known_models() if each.library in libraries}


def named_model(libraries: Iterable[str], name: str) -> KnownModel:
    """Return the model of that name.

    Raises:
        NotConverted: There is none.
    """
    models = models_of(libraries)
    if name not in models:
        near = ', '.join(get_close_matches(name, models, cutoff=0)) or 'none'
        raise NotConverted(f'{name!r} is no model that {" or ".join(libraries)} has here; nearest: {near}')
    return models[name]


def model_of_file(libraries: Iterable[str], path: str | os.PathLike) -> KnownModel | None:
    """Return the model that the name of a file begins with, such as ``seresnet50-0640-b6f9bbce.pth``."""
    models = models_of(libraries)
    stem = os.path.basename(os.fspath(path))
    fitting = [name for name in models if re.match(rf'{re.escape(name)}([-._]|$)', stem)]
    return models[max(fitting, key=len)] if fitting else None


def twins_of(libraries: Iterable[str], backbone: Mapping[str, Any], blocks: str) -> list[KnownModel]:
    """Return the models that have the same names and shapes of weights; only ``style`` may differ."""
    return [
        each
        for each in models_of(libraries).values()
        if each.blocks == blocks and _without_style(each.backbone) == _without_style(backbone)
    ]


def _without_style(backbone: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in backbone.items() if key != 'style'}
