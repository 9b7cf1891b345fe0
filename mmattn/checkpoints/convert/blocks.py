"""Attention blocks of a converted checkpoint: their options from the shapes of their weights, their sites."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mmattn.checkpoints.convert.errors import NotConverted
from mmattn.checkpoints.convert.key_table import BLOCK
from mmattn.registry import MODELS

Shapes = Mapping[str, tuple[int, ...]]


@dataclass
class Attention:
    """A block of the source model.

    Attributes:
        host: ``'layer1.0'`` if the block ends its residual branch, ``'layer1'`` if it follows the stage.
        type: The block's name in the registry.
        weights: Its weights by their names in the block.
        options: The options that the weights need.
    """

    host: str
    type: str
    weights: dict[str, Tensor] = field(repr=False)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def site(self) -> str:
        """The site in the backbone."""
        return f'{self.host}.residual' if '.' in self.host else self.host

    @property
    def stage(self) -> int:
        return int(self.host.removeprefix('layer').partition('.')[0])

    @property
    def config(self) -> dict[str, Any]:
        """The block as it stands in a config."""
        return dict(type=f'mmattn.{self.type}', **self.options)

    @property
    def plugin(self) -> str:
        """The name that MMCV gives the block as a plugin of a bottleneck."""
        return MODELS.get(self.type)._abbr_


def _perceptron(first: str, *, bias: bool = False) -> Callable[[Shapes], dict[str, Any]]:
    def options(shapes: Shapes) -> dict[str, Any]:
        hidden, channels = shapes[f'{first}.weight'][:2]
        found = dict(reduction=channels // max(hidden, 1))
        return found | dict(bias=f'{first}.bias' in shapes) if bias else found

    return options


_OPTIONS: dict[str, Callable[[Shapes], dict[str, Any]]] = dict(
    SE=_perceptron('fc1', bias=True),
    ECA=lambda shapes: dict(kernel_size=shapes['conv.weight'][-1]),
    CBAM=lambda shapes: (
        _perceptron('ChannelGate.mlp.1')(shapes)
        | dict(kernel_size=shapes['SpatialGate.spatial.conv.weight'][-1])
    ),
    BAM=_perceptron('channel_att.gate_c.gate_c_fc_0'),
    SGE=lambda shapes: dict(groups=shapes['weight'][1]),
)
"""For each block, the options that its weights tell."""


def split_blocks(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Attention]]:
    """Return the backbone's own weights, and the attention blocks."""
    own: dict[str, Tensor] = {}
    found: dict[str, Attention] = {}
    for key, value in state.items():
        match = re.fullmatch(rf'(.+?)\.{BLOCK}(\w+)\.(.+)', key)
        if match is None:
            own[key] = value
        else:
            found.setdefault(match[1], Attention(match[1], match[2], {})).weights[match[3]] = value
    return own, list(found.values())


def find_options(block: Attention, channels: int) -> None:
    """Set the options with which the block has the weights of the source.

    Raises:
        NotConverted: With no options it has them.
    """
    cls = MODELS.get(block.type)
    theirs = {key: tuple(value.shape) for key, value in block.weights.items()}
    plain = _shapes(cls(channels))
    if plain == _complete(theirs, plain):
        return
    try:
        options = _OPTIONS[block.type](theirs)
        ours = _shapes(cls(channels, **options))
    except (KeyError, ValueError, ZeroDivisionError):
        options, ours = {}, plain
    theirs = _complete(theirs, ours)
    if ours != theirs:
        name = next(key for key in (*theirs, *ours) if ours.get(key) != theirs.get(key))
        raise NotConverted(
            f'the {block.type} at {block.host} does not fit mmattn.{block.type}: {name} has the shape '
            f'{theirs.get(name, "(absent)")} in the file, and {ours.get(name, "(absent)")} with '
            f'{options or "the defaults"}'
        )
    block.options = {
        key: value for key, value in options.items() if _shapes(cls(channels, **{key: value})) != plain
    }


def units_of(own: Mapping[str, Tensor]) -> set[str]:
    """The paths of the residual blocks."""
    return {'.'.join(key.split('.')[:2]) for key in own if key.startswith('layer')}


def channels_at(host: str, own: Mapping[str, Tensor]) -> int:
    """The number of channels after a residual branch or a stage."""
    unit = host if '.' in host else f'{host}.0'
    last = 'conv3' if f'{unit}.conv3.weight' in own else 'conv2'
    return own[f'{unit}.{last}.weight'].shape[0]


def shown_names(names: Iterable[str]) -> str:
    """Some names of weights, and how many more there are."""
    names = list(names)
    return ', '.join(names[:5]) + f', and {len(names) - 5} more' * (len(names) > 5)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def _complete(theirs: Shapes, ours: Shapes) -> dict[str, tuple[int, ...]]:
    """``theirs`` with the counters that PyTorch before 0.4.1 did not save."""
    return {key: () for key in ours if key.endswith('num_batches_tracked')} | dict(theirs)
