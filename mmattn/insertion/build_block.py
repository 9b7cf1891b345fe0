"""Build the block that a rule asks for."""

from __future__ import annotations

import inspect
from copy import deepcopy

from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from mmattn.blocks._checks import check_options
from mmattn.blocks.external import check_output
from mmattn.insertion.rule import Rule
from mmattn.insertion.site import Site
from mmattn.insertion.start_check import is_ours
from mmattn.registry import MODELS


def block_class(rule: Rule) -> type:
    """Return the class of a rule's block."""
    name = rule.block['type']
    if not isinstance(name, str):
        return name
    try:
        found = ROOT_MODELS.get(name) if name.rpartition('.')[2].strip() else None
    except KeyError as error:
        raise KeyError(f'{rule}: {error.args[0]}') from None
    if found is None:
        ours = f'mmattn.{name}' if name in MODELS.module_dict else 'mmattn.SE'
        raise KeyError(
            f'{rule}: no block {name!r} in any registry; blocks of this package are '
            f'written with its name, such as {ours!r}'
        )
    return found


def build_block(rule: Rule, site: Site) -> nn.Module:
    """Build the block of ``rule`` for ``site``.

    Raises:
        KeyError: There is no such block.
        TypeError: The block has no such option.
        ValueError: The block does not accept a value.
    """
    cls = block_class(rule)
    _require_block(rule, cls)
    options = deepcopy({key: value for key, value in rule.block.items() if key != 'type'})
    try:
        check_options(cls, options)
        block = cls(in_channels=site.channels, **options)
        if not is_ours(block):  # ours keep the shape
            check_output(block, site.channels, cls.__name__)
        return block
    except (TypeError, ValueError) as error:
        raise type(error)(f'{rule}: {error}') from error


def _require_block(rule: Rule, cls) -> None:
    """Raise unless ``cls`` is a module class that can follow a host."""
    if not inspect.isclass(cls) or not issubclass(cls, nn.Module):
        raise TypeError(
            f'{rule}: {rule.block["type"]!r} is {cls!r}, which is not a subclass of torch.nn.Module'
        )
    if getattr(cls, 'role', None) == 'convolution':
        raise ValueError(
            f'{rule}: {cls.__name__} replaces a convolution and cannot follow a module: '
            f"give it to the backbone, as dcn=dict(type='mmattn.{cls.__name__}', "
            'fallback_on_stride=False), stage_with_dcn=(True, True, True, True)'
        )
    if 'in_channels' not in inspect.signature(cls).parameters:
        raise TypeError(
            f"{rule}: {cls.__name__} has no argument 'in_channels'. Write block=dict(type="
            f"'mmattn.External', module=dict(type={rule.block['type']!r}, ...), channels=...), "
            'where channels= names its argument for the number of channels. Its arguments: '
            f'{", ".join(inspect.signature(cls).parameters)}'
        )
