"""What a search may choose: choices and ranges in place of values in a variant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from optuna.trial import BaseTrial

from mmattn.wanted import is_number

_RANGE = {'low', 'high', 'log', 'step'}


def is_range(value: Any) -> bool:
    """Whether a value is ``dict(low=..., high=...)``, with ``log`` or ``step``."""
    return isinstance(value, Mapping) and {'low', 'high'} <= value.keys() <= _RANGE


def is_choice(value: Any) -> bool:
    """Whether a value is ``dict(choices=[...])``."""
    return isinstance(value, Mapping) and value.keys() == {'choices'}


def choose(trial: BaseTrial, space: Any, name: str = '') -> Any:
    """Return a space with each choice and range replaced by the value that a trial gets for it.

    Args:
        trial: Optuna's trial.
        space: A variant: changes of a config. In it ``dict(choices=[...])`` stands for one of several values,
            which may have choices and ranges in them, and ``dict(low=..., high=...)`` for a number: of
            integers if both ends are, with ``log=True`` on a logarithmic scale, with ``step=`` in steps.
        name: Where the space stands; names of parameters begin with it.

    Example:
        >>> from optuna.trial import FixedTrial
        >>> space = dict(insert=[dict(at='neck.output', block=dict(choices=[
        ...     dict(type='mmattn.SE', reduction=dict(low=4, high=32, log=True)), dict(type='mmattn.ECA')]))])
        >>> choose(FixedTrial({'insert.0.block': 'SE', 'insert.0.block.SE.reduction': 8}), space)
        {'insert': [{'at': 'neck.output', 'block': {'type': 'mmattn.SE', 'reduction': 8}}]}
    """
    if is_range(space):
        low, high, log = space['low'], space['high'], space.get('log', False)
        if isinstance(low, int) and isinstance(high, int):
            return trial.suggest_int(name, low, high, step=space.get('step', 1), log=log)
        return trial.suggest_float(name, low, high, step=space.get('step'), log=log)
    if is_choice(space):
        labels = labels_of(space['choices'])
        label = trial.suggest_categorical(name, labels)
        return choose(trial, space['choices'][labels.index(label)], f'{name}.{label}')
    if isinstance(space, Mapping):
        return {key: choose(trial, value, _join(name, key)) for key, value in space.items()}
    if isinstance(space, (list, tuple)):
        return type(space)(choose(trial, value, _join(name, i)) for i, value in enumerate(space))
    return space


def _join(name: str, key: Any) -> str:
    return f'{name}.{key}' if name else str(key)


def labels_of(choices: list) -> list:
    """Return a short name for each choice: itself if it is a number or a text, else its type.

    Example:
        >>> labels_of([16, 'paper', dict(type='mmattn.SE'), dict(type='mmattn.SE', start='paper'), (1, 2)])
        [16, 'paper', 'SE', "SE(start='paper')", '(1, 2)']
    """
    labels = [_label(each) for each in choices]
    texts = [str(label) for label in labels]
    return [
        label if texts.count(text) == 1 else _long_label(each)
        for label, text, each in zip(labels, texts, choices)
    ]


def _label(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping) and isinstance(value.get('type'), str):
        return value['type'].rpartition('.')[2]
    return repr(value)


def _long_label(value: Any) -> Any:
    """Return a label that tells what ``_label`` does not."""
    if isinstance(value, Mapping) and isinstance(value.get('type'), str):
        options = ', '.join(f'{key}={each!r}' for key, each in value.items() if key != 'type')
        return f'{_label(value)}({options})' if options else _label(value)
    return repr(value)


def check_space(space: Any, grid: bool = False) -> None:
    """Raise ``ValueError`` for what is no space, naming the place.

    Args:
        space: The value to check.
        grid: Whether all combinations are to be tried, for which ranges need steps.
    """
    if not isinstance(space, Mapping) or not space:
        raise ValueError(
            f'search.variant is {space!r}; it is a dict of changes of the config, in which '
            'dict(choices=[...]) and dict(low=..., high=...) stand for what is searched'
        )
    chosen = 0
    for name, value in _parts(space):
        if is_choice(value):
            chosen += 1
            _check_choices(name, value['choices'])
        elif is_range(value):
            chosen += 1
            _check_range(name, value, grid)
        elif isinstance(value, Mapping) and value.keys() & {'low', 'high', 'choices'}:
            raise ValueError(
                f'search.variant: {name} is {dict(value)!r}; a choice is dict(choices=[...]), and a range '
                'dict(low=..., high=...), with log=True or step=... beside them'
            )
    if not chosen:
        raise ValueError(
            'search.variant has neither dict(choices=[...]) nor dict(low=..., high=...) in it: there is '
            'nothing to choose'
        )


def _parts(space: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    """Yield all that stands in a space, with its place."""
    if name:
        yield name, space
    if is_range(space):
        return
    if is_choice(space) and isinstance(space['choices'], (list, tuple)):
        parts = zip(labels_of(space['choices']), space['choices'])
    elif isinstance(space, Mapping):
        parts = space.items()
    elif isinstance(space, (list, tuple)):
        parts = enumerate(space)
    else:
        return
    for key, value in parts:
        yield from _parts(value, _join(name, key))


def _check_choices(name: str, choices: Any) -> None:
    if not isinstance(choices, (list, tuple)) or not choices:
        raise ValueError(
            f'search.variant: {name} has choices={choices!r}; it is a list with at least one value'
        )
    labels = [str(label) for label in labels_of(list(choices))]
    repeated = {label for label in labels if labels.count(label) > 1}
    if repeated:
        raise ValueError(f'search.variant: {name} has the choice {", ".join(sorted(repeated))} twice')


def _check_range(name: str, value: Mapping, grid: bool) -> None:
    low, high, step = value['low'], value['high'], value.get('step')
    numbers = [low, high] if step is None else [low, high, step]
    if not all(map(is_number, numbers)) or not low < high:
        raise ValueError(f'search.variant: {name} is {dict(value)!r}; low is a number below high')
    if value.get('log') and (low <= 0 or step is not None):
        raise ValueError(f'search.variant: {name}: a logarithmic range begins above 0 and has no step')
    if step is not None and step <= 0:
        raise ValueError(f'search.variant: {name}: step is {step}; it is above 0')
    if grid and step is None and not (isinstance(low, int) and isinstance(high, int)):
        raise ValueError(
            f"search.variant: {name} is a range without step, of which sampler='grid' cannot try all values: "
            'write step=..., or choices'
        )


def cover(space: Any) -> list[Any]:
    """Return variants in which each choice, and both ends of each range, occurs at least once.

    Example:
        >>> cover(dict(a=dict(choices=[1, 2, 3]), b=dict(low=0.0, high=0.5)))
        [{'a': 1, 'b': 0.0}, {'a': 2, 'b': 0.5}, {'a': 3, 'b': 0.0}]
    """
    if is_range(space):
        return [space['low'], space['high']]
    if is_choice(space):
        return [value for choice in space['choices'] for value in cover(choice)]
    if not isinstance(space, (Mapping, list, tuple)) or not space:
        return [space]
    keys = list(space) if isinstance(space, Mapping) else range(len(space))
    parts = [cover(space[key]) for key in keys]
    rows = [[part[i % len(part)] for part in parts] for i in range(max(map(len, parts)))]
    return [dict(zip(keys, row)) if isinstance(space, Mapping) else type(space)(row) for row in rows]
