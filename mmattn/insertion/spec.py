"""The spec: an insertion as data, as a checkpoint or an adapter records it."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor

from mmattn.insertion.build_block import block_class
from mmattn.insertion.insert_text import block_text
from mmattn.insertion.rule import Rule
from mmattn.version import __version__

FORMAT = 1
"""Format number of specs; a reader refuses a higher one."""
SPEC_KEY = '_extra_state'
"""The spec's name within the state dict of ``model.attention``, which PyTorch fixes."""
_NOT_DATA = '__python__'
_UNREADABLE = 'its insertion spec cannot be read'


def spec_of(attention) -> dict[str, Any]:
    """Return the normal form of an insertion, which JSON can hold.

    Args:
        attention: ``model.attention``.

    Returns:
        A dict with ``format``, ``mmattn`` (the version), ``detector`` (the class of the model) and
        ``insert``: for each block, in the model's order, ``at`` (the name of one site), ``block`` (its
        config, with its actual ``start``), ``order`` and ``freeze_with_host``; also ``channels``, the number
        that a pruned block has.
    """
    insert = []
    for site, rule, block in attention.blocks():
        channels = getattr(block, 'in_channels', site.channels)
        options = {key: _as_data(value) for key, value in rule.block.items() if key != 'type'}
        if hasattr(block, 'start'):
            options['start'] = block.start
        insert.append(
            dict(
                at=site.name,
                block=dict(type=_type_name(rule), **dict(sorted(options.items()))),
                order=rule.order,
                freeze_with_host=rule.freeze_with_host,
                **({} if channels == site.channels else dict(channels=channels)),
            )
        )
    return dict(format=FORMAT, mmattn=__version__, detector=attention.detector, insert=insert)


def rules_of(spec: Mapping) -> list[Rule]:
    """Return the rules that make the insertion of ``spec`` again.

    Raises:
        ValueError: A block has an option that could not be recorded, or a type that is not imported, or was
            pruned.
    """
    check_recorded(spec)
    for entry in spec['insert']:
        if 'channels' in entry:
            raise ValueError(
                f"the block at '{entry['at']}' was pruned to {entry['channels']} channels, with the layers "
                'around it: it fits its own detector alone. Load the checkpoint with the config that '
                'tools/prune.py wrote'
            )
        name = _not_imported(entry['block'])
        if name:
            raise ValueError(
                f"the block at '{entry['at']}' is a {name!r}, which is neither registered nor imported, and "
                'a file has no say in what is. If you trust it, import its module before'
            )
    return [
        Rule((entry['at'],), dict(entry['block']), (), entry['order'], entry['freeze_with_host'])
        for entry in spec['insert']
    ]


def check_recorded(spec: Mapping) -> None:
    """Raise ``ValueError`` if ``spec`` has a block that cannot be built again from its record."""
    for entry in spec['insert']:
        lost = _lost(entry['block'])
        if lost:
            raise ValueError(
                f"the block at '{entry['at']}' cannot be recorded: {lost} is neither data nor something "
                'that can be imported. Use numbers, strings, lists and dicts as options. Register a class, '
                "or define it at the top of a module and write it as 'package.module.Class'"
            )


def encode_spec(spec: Mapping) -> Tensor:
    """Return the spec as JSON, in a tensor of bytes."""
    return torch.tensor(list(dump_spec(spec).encode()), dtype=torch.uint8)


def decode_spec(state) -> dict[str, Any]:
    """Return the spec that :func:`encode_spec` encoded.

    Raises:
        ValueError: ``state`` is no encoded spec, or has a newer format.
    """
    if not isinstance(state, Tensor):
        raise ValueError(_UNREADABLE)
    # A conversion of all weights to 16 bits keeps the spec: ASCII codes are exact in them.
    return load_spec(bytes(state.detach().cpu().to(torch.uint8).tolist()).decode('ascii', 'replace'))


def dump_spec(spec: Mapping) -> str:
    """Return the spec as JSON."""
    return json.dumps(spec, separators=(',', ':'))


def load_spec(text: str) -> dict[str, Any]:
    """Return the spec that is written as JSON in ``text``.

    Raises:
        ValueError: ``text`` is no spec, or has a newer format.
    """
    try:
        spec = json.loads(text)
    except json.JSONDecodeError:
        spec = None
    number = spec.get('format') if isinstance(spec, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise ValueError(
            f'its insertion spec has format {number}, but mmattn {__version__} reads formats up to '
            f'{FORMAT}: update mmattn'
        )
    known = {'at', 'block', 'order', 'freeze_with_host'}
    if (
        number is None
        or not isinstance(spec.get('insert'), list)
        or not spec['insert']
        or not all(
            isinstance(entry, dict)
            and known <= entry.keys()
            and isinstance(entry['block'], dict)
            and isinstance(entry['block'].get('type'), str)
            for entry in spec['insert']
        )
    ):
        raise ValueError(_UNREADABLE)
    return spec


def differences(theirs: Mapping, ours: Mapping, what: str = 'the checkpoint') -> list[str]:
    """Say how two insertions differ; empty if weights mean the same in both.

    Args:
        theirs: Spec of a checkpoint or an adapter.
        ours: Spec of a model.
        what: What ``theirs`` belongs to, for the text.
    """
    theirs, ours = _by_site(theirs), _by_site(ours)
    found = []
    for one, other, text in (
        (theirs, ours, f'{what} has attention at {{}} where the model has none'),
        (ours, theirs, f'the model has attention at {{}} for which {what} holds nothing'),
    ):
        missing = [site for site in one if site not in other]
        if missing:
            found.append(text.format(_sites(missing)))
    other = [site for site in theirs if site in ours and theirs[site] != ours[site]]
    if other:
        found.append(
            f'the blocks differ at {_sites(other)}: {what} has '
            f'{_chain(theirs[other[0]], ours[other[0]])}, the model has '
            f'{_chain(ours[other[0]], theirs[other[0]])}'
        )
    return found


def _sites(names: list[str]) -> str:
    shown = ', '.join(f"'{name}'" for name in names[:3])
    return f'{len(names)} site{"s" * (len(names) > 1)} ({shown}{", ..." * (len(names) > 3)})'


def _chain(blocks: list[dict], other: list[dict]) -> str:
    """Describe the blocks of a site by what distinguishes them from ``other``."""
    if len(blocks) == len(other) == 1 and blocks[0]['type'] == other[0]['type']:
        blocks = [
            {
                key: value
                for key, value in blocks[0].items()
                if key == 'type' or other[0].get(key, _chain) != value
            }
        ]
    return ' and then '.join(map(block_text, blocks))


def _by_site(spec: Mapping) -> dict[str, list[dict]]:
    """Return the blocks of each site in their order, with their defaults written out."""
    found: dict[str, list[dict]] = {}
    for entry in spec['insert']:
        pruned = {key: entry[key] for key in ('channels',) if key in entry}
        found.setdefault(entry['at'], []).append(_with_defaults(entry['block']) | pruned)
    return found


def _not_imported(value: Any) -> str | None:
    """The first type in ``value``, a block's config, that is found only by importing what it names."""
    if isinstance(value, Mapping):
        name = value.get('type')
        if isinstance(name, str) and not _is_imported(name):
            return name
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(_not_imported, value)), None)
    return None


def _is_imported(name: str) -> bool:
    scope, _, cls = name.rpartition('.')
    if scope in ROOT_MODELS.children or hasattr(sys.modules.get(scope), cls):
        return True
    return not scope and any(
        cls in each.module_dict for each in (ROOT_MODELS, *ROOT_MODELS.children.values())
    )


def _with_defaults(block: Mapping) -> dict[str, Any]:
    if _not_imported(block):
        return dict(block)
    try:
        parameters = inspect.signature(block_class(Rule(('',), dict(block)))).parameters.values()
    except (KeyError, TypeError, ValueError, RuntimeError):
        return dict(block)
    defaults = {
        p.name: _as_data(p.default) for p in parameters if p.default is not p.empty and p.name != 'init_cfg'
    }
    return {'type': block['type'], **defaults, **block}


def _type_name(rule: Rule) -> str:
    """Return a name by which the rule's block is found; it depends on its class alone."""
    cls = block_class(rule)
    for scope, registry in [('', ROOT_MODELS), *ROOT_MODELS.children.items()]:
        names = [name for name, each in registry.module_dict.items() if each is cls]
        if names:
            name = cls.__name__ if cls.__name__ in names else names[0]
            return f'{scope}.{name}' if scope else name
    return f'{cls.__module__}.{cls.__qualname__}'


def _as_data(value):
    """Return ``value`` as JSON would give it back."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _as_data(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_data(each) for each in value]
    if isinstance(value, type):
        return f'{value.__module__}.{value.__qualname__}'
    if hasattr(value, 'item') and getattr(value, 'ndim', None) == 0:  # a NumPy number
        return value.item()
    return {_NOT_DATA: repr(value)}


def _lost(value) -> str | None:
    """Return the part of a recorded value that cannot be built again, or ``None`` if all of it can."""
    if isinstance(value, str):
        return value if '<locals>' in value else None
    if isinstance(value, dict):
        if _NOT_DATA in value:
            return value[_NOT_DATA]
        value = list(value.values())
    if isinstance(value, list):
        return next(filter(None, map(_lost, value)), None)
    return None
