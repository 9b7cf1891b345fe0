"""Read a study's config file, and check all of it before the first run starts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from torch import nn

from mmattn.engine import check_data
from mmattn.engine.check_weights import check_weights
from mmattn.engine.mistakes import BUILD_ERRORS, user_input
from mmattn.study.asked import check_choice, check_keys, read_asked
from mmattn.study.controls import CONTROLS, PLAIN, NoControl, control_insertion
from mmattn.study.evaluation.metrics import MAIN, SUMMARY
from mmattn.study.variant_config import build_detector, variant_config
from mmattn.wanted import is_whole

KEYS = (
    'base', 'variants', 'control', 'controls', 'seeds', 'settings', 'budget', 'metrics', 'keep_detections',
)  # fmt: skip

KEEP = ('last', 'all')
_EXAMPLE = (
    "variants = dict(se=dict(insert=[dict(at='backbone.layer[2-4].*.residual', "
    "block=dict(type='mmattn.SE'))]))"
)


@dataclass(frozen=True)
class Variant:
    """One training of a study, without its seed.

    Attributes:
        name: Its name, which is that of its folder.
        config: Its whole config.
        role: ``'variant'``, or the word of the control that it is.
        of: The variants whose control it is; empty for all.
        parameters: Number of parameters of the model.
        attention: Number of parameters of inserted blocks.
    """

    name: str
    config: Config
    role: str
    of: tuple[str, ...]
    parameters: int
    attention: int


@dataclass(frozen=True)
class Study:
    """What a study's config asks for, checked.

    Attributes:
        name: Name of the config file.
        variants: All that is trained, controls first.
        control: Name of the variant to which the others are compared.
        seeds: The seeds; a run is a variant with a seed.
        metrics: Names of the metrics that the report shows.
        keep_detections: ``'last'``, or ``'all'`` to keep those of every evaluation.
        notes: What a reader of the report has to know, as that there is no capacity control.
    """

    name: str
    variants: tuple[Variant, ...]
    control: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    keep_detections: str
    notes: tuple[str, ...]


@user_input()
def read_study(
    path: str, data_root: str | None = None, cfg_options: Mapping[str, Any] | None = None
) -> Study:
    """Read a study's config file, build each variant once, and check data and pretrained weights.

    Args:
        path: Config file of the study; docs/study.md says what it holds.
        data_root: Folder of the data set, as for ``tools/train.py``.
        cfg_options: Changes to the study's config.

    Raises:
        FileNotFoundError: If a config, the data or pretrained weights are missing.
        ValueError, TypeError, KeyError: If the study asks for what is not possible, or a variant cannot be
            built; the message names the variant.
    """
    asked = read_asked(path, cfg_options)
    _check_keys(asked, path)
    name = os.path.splitext(os.path.basename(path))[0]
    seeds = _seeds(asked.get('seeds'))
    builder = _Builder(path, asked, data_root)
    notes = builder.build_all()
    control = _control(asked, builder.variants)
    first = [v for v in builder.variants.values() if v.name == control]
    controls = [v for v in builder.variants.values() if v.role != 'variant' and v.name != control]
    rest = [v for v in builder.variants.values() if v not in first and v not in controls]
    variants = tuple([*first, *controls, *rest])
    _check_data_and_weights(variants)
    return Study(
        name,
        variants,
        control,
        seeds,
        _metrics(asked.get('metrics', MAIN)),
        check_choice('keep_detections', asked.get('keep_detections', KEEP[0]), KEEP),
        tuple(notes),
    )


def _check_keys(asked: Mapping[str, Any], path: str) -> None:
    check_keys(asked, KEYS, ('base', 'variants', 'seeds'), path, others=True)
    if not isinstance(asked['variants'], Mapping) or not asked['variants']:
        raise ValueError(f'variants is a dict of changes by name; got {asked["variants"]!r}: {_EXAMPLE}')
    for name, changes in asked['variants'].items():
        if not re.fullmatch(r'[A-Za-z0-9][\w.+-]*', name):
            raise ValueError(
                f'the variant {name!r} would be a folder: letters, digits and any of _ . + - are possible'
            )
        if not isinstance(changes, Mapping):
            raise ValueError(f'the variant {name!r} is a dict of changes of the config; got {changes!r}')


def _seeds(given: Any) -> tuple[int, ...]:
    good = isinstance(given, (list, tuple)) and given
    if not good or not all(map(is_whole, given)):
        raise ValueError(f'seeds is a list of whole numbers from 0, such as [0, 1, 2, 3, 4]; got {given!r}')
    if len(set(given)) < len(given):
        raise ValueError(f'seeds has a number twice: {given}')
    return tuple(given)


def _metrics(given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, (list, tuple)) or not given:
        raise ValueError(f'metrics is a list of names; got {given!r}; possible: {", ".join(SUMMARY)}')
    for name in given:
        check_choice('metrics', name, SUMMARY)
    return tuple(given)


def _control(asked: Mapping[str, Any], variants: Mapping[str, Variant]) -> str:
    control = asked.get('control', PLAIN)
    if control not in variants:
        raise ValueError(
            f'control={control!r} is what the others are compared to, and it is none of the variants and '
            f"controls: {', '.join(variants)}. controls=['plain'] adds the detector without attention"
        )
    return control


class _Builder:
    """Makes the configs of all variants and controls, and builds each model once."""

    def __init__(self, path: str, asked: Mapping[str, Any], data_root: str | None):
        self.asked = asked
        self.variants: dict[str, Variant] = {}
        self._folder = os.path.dirname(os.path.abspath(path))
        self._data_root = data_root
        self._models: dict[str, nn.Module] = {}

    def build_all(self) -> list[str]:
        """Build what the study asks for; return the notes for the report."""
        words = [self._word(each) for each in self._controls()]
        if any(word == PLAIN for word, _ in words):
            self._add(PLAIN, {}, PLAIN, (), plain=True)
        for name, changes in self.asked['variants'].items():
            self._add(name, changes, 'variant', ())
        notes: list[str] = []
        for word, of in words:
            if word != PLAIN:
                notes += self._add_controls(word, of)
        self._models.clear()
        return notes

    def _controls(self) -> list:
        given = self.asked.get('controls', [PLAIN])
        if not isinstance(given, (list, tuple)):
            raise ValueError(f'controls is a list; got {given!r}; possible: {", ".join(map(repr, CONTROLS))}')
        return list(given)

    def _word(self, given: Any) -> tuple[str, tuple[str, ...]]:
        """Read an entry of ``controls``: a word, or ``dict(type='capacity', of='cbam')``."""
        of = ()
        if isinstance(given, Mapping):
            if set(given) - {'type', 'of'}:
                raise KeyError(
                    f"an entry of controls is a word or dict(type='capacity', of='se'); got {given!r}"
                )
            named = given.get('of', ())
            of = (named,) if isinstance(named, str) else tuple(named)
            given = given.get('type')
        for name in of:
            check_choice(f'the control {given!r} with of=', name, tuple(self.asked['variants']))
        return check_choice('controls', given, CONTROLS), of

    def _add(
        self, name: str, changes: Mapping[str, Any], role: str, of: tuple[str, ...], plain: bool = False
    ) -> None:
        if name in self.variants:
            raise ValueError(
                f'the name {name!r} is that of a control and of a variant: give the variant another'
            )
        what = f'the variant {name!r}' if role == 'variant' else f'the control {name!r}'
        with user_input(f'{what} cannot be built', BUILD_ERRORS):
            cfg = variant_config(self.asked, changes, self._folder, self._data_root, plain)
            model = self._models[name] = build_detector(cfg)
        attention = getattr(model, 'attention', None)
        blocks = list(attention.parameters()) if isinstance(attention, nn.Module) else []
        self.variants[name] = Variant(
            name, cfg, role, of, sum(p.numel() for p in model.parameters()), sum(p.numel() for p in blocks)
        )

    def _add_controls(self, word: str, of: tuple[str, ...]) -> list[str]:
        """Add a control for each variant, one for all for which it would be the same; return notes."""
        all_names = tuple(v.name for v in self.variants.values() if v.role == 'variant')
        names = of or all_names
        found: list[tuple[str, list, list[str]]] = []
        notes = []
        for name in all_names:
            try:
                insert = control_insertion(word, self._models[name])
            except NoControl as error:
                if name in of or self.variants[name].attention:
                    notes.append(f'There is no {word.replace("_", " ")} control of {name}: {error}.')
                continue
            if name not in names:
                continue
            base = self.asked['variants'][name].get('base', self.asked['base'])
            same = next((each for each in found if each[:2] == (base, insert)), None)
            if same:
                same[2].append(name)
            else:
                found.append((base, insert, [name]))
        if not found and not notes:
            raise ValueError(
                f'controls has {word!r}, and no variant inserts attention whose sites it could take: '
                f'{_EXAMPLE}'
            )
        for base, insert, of_these in found:
            name = word if len(found) == 1 else f'{word}_{of_these[0]}'
            self._add(name, dict(base=base, insert=insert), word, tuple(of_these))
        return notes


def _check_data_and_weights(variants: tuple[Variant, ...]) -> None:
    """Check each data set once, and fetch pretrained weights, before runs would do so at the same time."""
    seen = []
    for variant in variants:
        with user_input(f'the variant {variant.name!r}', BUILD_ERRORS):
            check_weights(variant.config)
            data = [variant.config.get(f'{part}_dataloader') for part in ('train', 'val')]
            if data not in seen:
                seen.append(data)
                check_data(variant.config)
