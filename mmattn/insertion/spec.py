"""An insertion as data: what a checkpoint or an adapter says of the attention that it holds."""

from __future__ import annotations

import inspect
import json
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


def spec_of(attention) -> dict[str, Any]:
    """The normal form of an insertion, which JSON can hold.

    Args:
        attention: ``model.attention``.

    Returns:
        ``format``, ``mmattn`` (the version), ``detector`` (the class of the model) and ``insert``: for
        each block, in the model's order, ``at`` (one site's name), ``block`` (its config, with the
        ``start`` that it has), ``order`` and ``freeze_with_host``.
    """
    insert = []
    for site, rule, block in attention.blocks():
        options = {key: _as_data(value) for key, value in rule.block.items() if key != 'type'}
        if hasattr(block, 'start'):
            options['start'] = block.start
        insert.append(
            dict(
                at=site.name,
                block=dict(type=_type_name(rule), **dict(sorted(options.items()))),
                order=rule.order,
                freeze_with_host=rule.freeze_with_host,
            )
        )
    return dict(format=FORMAT, mmattn=__version__, detector=attention.detector, insert=insert)


def rules_of(spec: Mapping) -> list[Rule]:
    """The rules that give the insertion of ``spec`` again.

    Raises:
        ValueError: It has an option that could not be recorded.
    """
    check_recorded(spec)
    return [
        Rule((entry['at'],), dict(entry['block']), (), entry['order'], entry['freeze_with_host'])
        for entry in spec['insert']
    ]


def check_recorded(spec: Mapping) -> None:
    """Raise ``ValueError`` where a block cannot be built again from what ``spec`` says of it."""
    for entry in spec['insert']:
        lost = _lost(entry['block'])
        if lost:
            raise ValueError(
                f"the block at '{entry['at']}' cannot be recorded: {lost} is neither data nor something "
                'that can be imported. Options are numbers, strings, lists and dicts; a class is '
                "registered, or stands at the top of a module and is written as 'package.module.Class'"
            )


def encode_spec(spec: Mapping) -> Tensor:
    """The spec as JSON, in a tensor of bytes."""
    return torch.tensor(list(dump_spec(spec).encode()), dtype=torch.uint8)


def decode_spec(state) -> dict[str, Any]:
    """What :func:`encode_spec` made a tensor of.

    Raises:
        ValueError: It is not such a tensor, or of a newer format.
    """
    if not isinstance(state, Tensor):
        raise ValueError('it has no readable insertion spec')
    # A conversion of all weights to 16 bits keeps these, too: ASCII is exact in them.
    return load_spec(bytes(state.detach().cpu().to(torch.uint8).tolist()).decode('ascii', 'replace'))


def dump_spec(spec: Mapping) -> str:
    return json.dumps(spec, separators=(',', ':'))


def load_spec(text: str) -> dict[str, Any]:
    """A spec from JSON.

    Raises:
        ValueError: It is not one, or of a newer format.
    """
    try:
        spec = json.loads(text)
    except json.JSONDecodeError:
        spec = None
    number = spec.get('format') if isinstance(spec, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise ValueError(
            f'its spec has format {number}, and this version of mmattn, {__version__}, reads '
            f'formats up to {FORMAT}: update mmattn'
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
        raise ValueError('it has no readable insertion spec')
    return spec


def differences(theirs: Mapping, ours: Mapping, what: str = 'the checkpoint') -> list[str]:
    """How two insertions differ, in words; empty where one's weights mean the same in the other.

    Args:
        theirs: The spec of a checkpoint or an adapter.
        ours: The spec of a model.
        what: What ``theirs`` is of, for the text.
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
            f'at {_sites(other)} the block is another one: {what} has '
            f'{_chain(theirs[other[0]], ours[other[0]])}, the model '
            f'{_chain(ours[other[0]], theirs[other[0]])}'
        )
    return found


def _sites(names: list[str]) -> str:
    shown = ', '.join(f"'{name}'" for name in names[:3])
    return f'{len(names)} site{"s" * (len(names) > 1)} ({shown}{", ..." * (len(names) > 3)})'


def _chain(blocks: list[dict], other: list[dict]) -> str:
    """The blocks of a site, with what distinguishes them from another's."""
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
    """The blocks of each site in their order, with their defaults written out."""
    found: dict[str, list[dict]] = {}
    for entry in spec['insert']:
        found.setdefault(entry['at'], []).append(_with_defaults(entry['block']))
    return found


def _with_defaults(block: Mapping) -> dict[str, Any]:
    try:
        parameters = inspect.signature(block_class(Rule(('',), dict(block)))).parameters.values()
    except (KeyError, TypeError, ValueError, RuntimeError):
        return dict(block)
    defaults = {
        p.name: _as_data(p.default) for p in parameters if p.default is not p.empty and p.name != 'init_cfg'
    }
    return {'type': block['type'], **defaults, **block}


def _type_name(rule: Rule) -> str:
    """A name by which the rule's block is found, always the same one."""
    cls = block_class(rule)
    for scope, registry in [('', ROOT_MODELS), *ROOT_MODELS.children.items()]:
        names = [name for name, each in registry.module_dict.items() if each is cls]
        if names:
            name = cls.__name__ if cls.__name__ in names else names[0]
            return f'{scope}.{name}' if scope else name
    return f'{cls.__module__}.{cls.__qualname__}'


def _as_data(value):
    """``value`` as JSON gives it back."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _as_data(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_data(each) for each in value]
    if isinstance(value, type):
        return f'{value.__module__}.{value.__qualname__}'
    if hasattr(value, 'item') and getattr(value, 'ndim', None) == 0:  # a number of numpy's
        return value.item()
    return {_NOT_DATA: repr(value)}


def _lost(value) -> str | None:
    if isinstance(value, str):
        return value if '<locals>' in value else None
    if isinstance(value, dict):
        if _NOT_DATA in value:
            return value[_NOT_DATA]
        value = list(value.values())
    if isinstance(value, list):
        return next(filter(None, map(_lost, value)), None)
    return None
