"""Change a config by options such as ``--cfg-options``, and refuse those that would change nothing."""

from __future__ import annotations

import difflib
import inspect
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS
from mmengine.runner import FlexibleRunner, Runner

from mmattn.wanted import shown, values_at

RUN_KEYS = (
    {key for runner in (Runner, FlexibleRunner) for key in inspect.signature(runner).parameters}
    | {'auto_scale_lr', 'custom_imports', 'runner_type', 'tta_model', 'tta_pipeline'}  # MMEngine, MMDetection
    | {'data_made_by', 'exact_resume', 'find_unused_parameters', 'parse_large_ann_files', 'weights_made_by'}
)
"""The keys of a config that a run reads."""
_SWITCHES = ('yes', 'no', 'on', 'off', 'none', 'null', 'nil')
_NEAR = 0.85


def merge_options(cfg: Config, options: Mapping[str, Any], read: Collection[str] = ()) -> None:
    """Change a config as MMEngine's ``merge_from_dict`` does, one option after the other.

    Args:
        cfg: The config, which is changed.
        options: Values by dotted key.
        read: The keys of the whole config that somebody reads: other keys are variables of the config file,
            which are too late to change. Empty: all are read.

    Raises:
        ValueError: If an option leads nowhere in the config; the message names it, what is there, and the
            nearest name.

    Example:
        >>> from mmengine.config import Config
        >>> cfg = Config(dict(model=dict(insert=[dict(at='neck.*', block=dict(type='mmattn.SE'))])))
        >>> merge_options(cfg, {'model.insert.0.block.reduction': 4})
        >>> cfg.model.insert[0].block.reduction
        4
        >>> merge_options(cfg, {'model.insert.block.reduction': 8})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: model.insert.block.reduction=8: model.insert is a list of 1. Name the entry by ...
    """
    # In one merge of all, MMEngine deletes first.
    for key, value in sorted(options.items(), key=lambda option: not option[0].endswith('._delete_')):
        _require_path(cfg, key, value)
        if read and key.partition('.')[0] not in read:
            _require_read(cfg, key, value, read)
        _tell_of_text(cfg, key, value)
        try:
            cfg.merge_from_dict({key: value})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            why = error.args[0] if error.args else error
            raise _wrong(key, value, f'this does not fit the config: {why}') from error


def _require_path(cfg: Config, key: str, value: Any) -> None:
    """Raise unless each part of a key is there, or is new and like no other."""
    node, parts = cfg, key.split('.')
    for i, part in enumerate(parts):
        here, rest = '.'.join(parts[:i]), parts[i + 1 :]
        if isinstance(node, (list, tuple)):
            sets_dict = bool(rest) or isinstance(value, Mapping)
            _require_entry(node, here, parts[i:], sets_dict, key, value)
            node = node[int(part)]
        elif not hasattr(node, 'keys'):
            raise _wrong(key, value, f'{here} is {shown(node)}. Give it whole: {here}="dict({part}=...)"')
        elif part in node:
            node = node[part]
        else:
            _require_new(cfg, node, here, part, key, value)
            if rest and rest[0].isdigit():
                name = f'{here}.{part}'.lstrip('.')
                raise _wrong(
                    key, value, f'the config has no {name}. Give it whole: {name}="[dict(type=...)]"'
                )
            return


def _wrong(key: str, value: Any, why: str) -> ValueError:
    return ValueError(f'{key}={shown(value)}: {why}')


def _require_entry(
    node: list | tuple, here: str, parts: list[str], sets_dict: bool, key: str, value: Any
) -> None:
    if isinstance(node, tuple) or parts[0].isdigit() and not sets_dict:
        raise _wrong(key, value, f'{here} is {shown(node)}, whose entries cannot be set alone: give it whole')
    if not parts[0].isdigit():
        said = f'{here}.0.{".".join(parts)}={shown(value)}'
        raise _wrong(
            key, value, f'{here} is a list of {len(node)}. Name the entry by its number, from 0: {said}'
        )
    if int(parts[0]) >= len(node):
        last = f'{here} ends with {here}.{len(node) - 1}' if node else f'{here} is empty'
        raise _wrong(key, value, f'{last}. Give a longer list whole: {here}="[dict(...)]"')


def _require_new(cfg: Config, node: Any, here: str, part: str, key: str, value: Any) -> None:
    """Raise if a new key is nearly that of another one, unless the class of its dict has such an argument."""
    arguments = _arguments(cfg, node, here)
    near = difflib.get_close_matches(part, [*node.keys(), *arguments], n=1, cutoff=_NEAR)
    if part in arguments or not near or _without_digits(part) == _without_digits(near[0]):
        return
    name = f'{here}.{near[0]}'.lstrip('.')
    raise _wrong(
        key,
        value,
        f"{here or 'the config'} has no '{part}'; did you mean {name}? If it is a new key, write it "
        'into the config file',
    )


def _without_digits(name: str) -> str:
    return re.sub(r'\d', '', name)


def _arguments(cfg: Config, node: Any, here: str) -> list[str]:
    """The arguments of the class that a dict of the model's config names, if it is known."""
    name = node.get('type') if here.startswith('model') and isinstance(node, Mapping) else None
    if name is None:
        return []
    import mmdet.models  # noqa: F401  registers them

    try:
        with MODELS.switch_scope_and_registry(cfg.get('default_scope') or 'mmdet') as registry:
            return list(inspect.signature(registry.get(name) if isinstance(name, str) else name).parameters)
    except (KeyError, ImportError, TypeError, ValueError):  # building it says more
        return []


def _require_read(cfg: Config, key: str, value: Any, read: Collection[str]) -> None:
    """Raise if the config has copies of a variable, which is changed too late; else warn."""
    head, _, rest = key.partition('.')
    copies = list(_copies(cfg, head, read)) if head in cfg else []
    if copies:
        end = f'.{rest}' if rest else ''
        root = ', or give --data-root' if head == 'data_root' else ''
        raise _wrong(
            key,
            value,
            f"'{head}' is a variable of the config file, and what was made with it stays as it is. "
            f'Set {" and ".join(f"{copy}{end}" for copy in copies[:4])}{root}',
        )
    _warn(key, value, f"nothing in MMEngine, MMDetection or mmattn reads '{head}'")


def _warn(key: str, value: Any, text: str) -> None:
    print_log(f'{key}={shown(value)}: {text}', logger='current', level=logging.WARNING)


def _copies(cfg: Config, head: str, read: Collection[str]) -> Iterator[str]:
    """Yield the keys that have a variable's value; those of its name only, unless it is a list or dict."""
    value = cfg[head]
    telling = isinstance(value, (dict, list, tuple)) and len(value) > 1
    for name in (each for each in cfg.keys() if each in read):
        for key, found in _all_values(cfg[name], name):
            if found == value and type(found) is type(value) and (telling or key.endswith(f'.{head}')):
                yield key


def _all_values(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, node
    if isinstance(node, (Mapping, list, tuple)):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from _all_values(value, f'{name}.{key}')


def _tell_of_text(cfg: Config, key: str, value: Any) -> None:
    """Warn if a text replaces a number or a switch, or looks like one of these."""
    if not isinstance(value, str):
        return
    old = next((found for _, found in values_at(cfg, key)), None)
    if isinstance(old, (bool, int, float)) or value.lower() in _SWITCHES:
        there = f', in place of {old!r}' if old is not None else ''
        _warn(key, value, f'this is a text{there}. Python has True, False and None, and numbers as 0.0625')
