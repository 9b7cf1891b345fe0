"""The way back: name the weights of a ResNet that was trained here as timm does."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mmattn.blocks.eca import adaptive_kernel_size
from mmattn.checkpoints.convert.backbone import backbone_of
from mmattn.checkpoints.convert.blocks import Attention, channels_at, shown_names, units_of
from mmattn.checkpoints.convert.conversion import require_complete
from mmattn.checkpoints.convert.errors import NotConverted, NotMappable
from mmattn.checkpoints.convert.models import KnownModel, twins_of
from mmattn.checkpoints.read import read_checkpoint
from mmattn.checkpoints.state import ATTENTION, specs_in, state_dict_of
from mmattn.files import write_file
from mmattn.insertion.spec import SPEC_KEY, decode_spec

_BACKBONE, _CLASSIFIER = 'backbone.', 'head.fc.'
_SITE = re.compile(r'attention\.backbone_layer(\d)_(\d+)_residual\.(.+)')
_PLUGIN = re.compile(r'(layer\d\.\d+)\.(se|eca)\.(.+)')
# MMPretrain's deep stem is made of ConvModules; MMDetection's is one Sequential.
_STEMS = {
    f'stem.{i}.{part}.': f'stem.{3 * i + shift}.'
    for i in range(3)
    for part, shift in (('conv', 0), ('bn', 1))
}


@dataclass
class ForTimm:
    """Weights by timm's names.

    Attributes:
        model: timm's model.
        state: Its weights; without a classifier if the checkpoint has none.
        dropped: Names of weights that it has no place for.
        absorbed: Number of blocks whose ``2 * sigmoid`` went into the norm before them.
    """

    model: KnownModel
    state: dict[str, Tensor] = field(repr=False)
    dropped: list[str]
    absorbed: int

    def __str__(self) -> str:
        lines = [
            f'model: timm {self.model.name}',
            f'weights: {len(self.state)}' + ('' if 'fc.weight' in self.state else ', without a classifier'),
            f'dropped on purpose: {len(self.dropped)}'
            + (f' ({shown_names(self.dropped)})' if self.dropped else ''),
        ]
        if self.absorbed:
            lines.append(
                f"{self.absorbed} blocks with start='identity': the 2 of their gate 2 * sigmoid(z) is now in "
                'the norm before them, and taken out of their first layer, with the same output'
            )
        return '\n'.join(lines)


def to_timm(checkpoint: Mapping[str, Any], start: str | None = None) -> ForTimm:
    """Name the weights of a ResNet with SE or ECA in all its residual blocks as timm does.

    Args:
        checkpoint: The checkpoint of a classifier or a detector that was trained here, as read from its file.
        start: The ``start`` of blocks by ``plugins=``, which a checkpoint does not tell.

    Raises:
        NotConverted: It has no such attention, or its blocks' ``start`` is unknown.
        NotMappable: timm has no such model.
    """
    state = state_dict_of(checkpoint)
    _require_style(checkpoint)
    own, blocks, rest = _own_and_blocks(state)
    starts = _starts(state, blocks, start)
    _require_everywhere(own, blocks)
    types = sorted({block.type for block in blocks})
    backbone = backbone_of(own, 'pytorch')
    known = [
        each
        for each in twins_of(('timm',), backbone, ' and '.join(types))
        if not each.refused and each.blocks in _FITS_TIMM
    ]
    if not known:
        text = ', '.join(f'{key}={value!r}' for key, value in backbone.items())
        raise NotMappable(f'timm has no model with {" and ".join(types)} in dict({text})')
    require_complete(backbone, own)
    absorbed = 0
    for block in blocks:
        _FITS_TIMM[block.type](block, channels_at(block.host, own))
        if starts[block.host] == 'identity':
            _absorb(block, own)
            absorbed += 1
    deep = 'stem.0.weight' in own
    result = {_timm_name(key, deep): value for key, value in own.items()}
    for block in blocks:
        result |= {f'{block.host}.se.{key}': value for key, value in block.weights.items()}
    for key in [key for key in rest if key.startswith(_CLASSIFIER)]:
        result[f'fc.{key.removeprefix(_CLASSIFIER)}'] = rest.pop(key)
    return ForTimm(known[0], result, list(rest), absorbed)


def convert_file_to_timm(
    source: str | os.PathLike, path: str | os.PathLike, start: str | None = None, overwrite: bool = False
) -> ForTimm:
    """Write a checkpoint that was trained here for timm: ``*.safetensors``, else a file of PyTorch's.

    It raises what :func:`to_timm` and :func:`~mmattn.checkpoints.read_checkpoint` raise.
    """
    found = to_timm(read_checkpoint(os.fspath(source)), start)
    state = {key: value.detach().clone().contiguous() for key, value in found.state.items()}
    if os.fspath(path).endswith('.safetensors'):
        from safetensors.torch import save

        write_file(path, save(state, {'format': 'pt'}), overwrite)
    else:
        write_file(path, lambda file: torch.save(state, file), overwrite)
    return found


def _own_and_blocks(
    state: Mapping[str, Any],
) -> tuple[dict[str, Tensor], list[Attention], dict[str, Tensor]]:
    """Return the backbone's weights, its blocks, and all other weights."""
    own: dict[str, Tensor] = {}
    blocks: dict[str, Attention] = {}
    rest: dict[str, Tensor] = {}
    types = _types(state)
    for key, value in state.items():
        site, name = _SITE.fullmatch(key), key.removeprefix(_BACKBONE)
        plugin = _PLUGIN.fullmatch(name)
        if key == ATTENTION + SPEC_KEY or not isinstance(value, Tensor):
            continue
        if site:
            host = f'layer{site[1]}.{site[2]}'
            if host not in types:
                raise NotConverted(f'the checkpoint has weights at {key}, and its record has no block there')
            blocks.setdefault(host, Attention(host, types[host], {})).weights[site[3]] = value
        elif plugin:
            block = Attention(plugin[1], plugin[2].upper(), {})
            blocks.setdefault(plugin[1], block).weights[plugin[3]] = value
        elif key.startswith(ATTENTION):
            raise NotMappable(
                f"the model has attention at {key}: timm's has it at the end of residual branches alone"
            )
        elif name != key:
            stem = next((each for each in _STEMS if name.startswith(each)), '')
            own[_STEMS.get(stem, '') + name.removeprefix(stem)] = value
        else:
            rest[key] = value
    if not own:
        raise NotConverted(f"the checkpoint has no weights under '{_BACKBONE}', but {shown_names(state)}")
    return own, list(blocks.values()), rest


def _types(state: Mapping[str, Any]) -> dict[str, str]:
    """The types of the blocks in ``model.attention`` by their hosts, as the checkpoint records them."""
    return {host: entry['block']['type'].removeprefix('mmattn.') for host, entry in _entries(state).items()}


def _entries(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    specs = specs_in(state)
    if '' not in specs:
        return {}
    return {
        entry['at'].removeprefix(_BACKBONE).removesuffix('.residual'): entry
        for entry in decode_spec(specs[''])['insert']
    }


def _starts(state: Mapping[str, Any], blocks: list[Attention], start: str | None) -> dict[str, str]:
    if start not in (None, 'paper', 'identity'):
        raise NotConverted(f"start is 'paper' or 'identity'; got {start!r}")
    entries = _entries(state)
    plugins = [block.host for block in blocks if block.host not in entries]
    if plugins and start is None:
        raise NotConverted(
            f'{len(plugins)} blocks are plugins, the first in {plugins[0]}, whose start= no checkpoint '
            "tells: say --start paper (plugins' default) or --start identity"
        )
    return {
        block.host: entries[block.host]['block'].get('start', 'paper') if block.host in entries else start
        for block in blocks
    }


def _require_style(checkpoint: Mapping[str, Any]) -> None:
    meta = checkpoint.get('meta')
    text = meta.get('cfg') if isinstance(meta, Mapping) else None
    if isinstance(text, str) and re.search(r"backbone=dict\((?:[^()]|\([^()]*\))*style='caffe'", text):
        raise NotMappable(
            "the config in the checkpoint has style='caffe', the stride in the first convolution of a "
            "bottleneck; timm's ResNets have it in the second"
        )


def _require_everywhere(own: Mapping[str, Tensor], blocks: list[Attention]) -> None:
    units = units_of(own)
    if len(blocks) != len(units):
        raise NotMappable(
            f"{len(blocks)} of {len(units)} residual blocks have attention; in timm's models all have it"
        )


def _require_timms_se(block: Attention, channels: int) -> None:
    hidden, wanted = block.weights['fc1.weight'].shape[0], max(8, (channels // 16 + 4) // 8 * 8)
    if 'fc1.bias' not in block.weights or hidden != wanted:
        raise NotMappable(
            f'the SE in {block.host} has a hidden width of {hidden}'
            f'{"" if "fc1.bias" in block.weights else " and no biases"}; timm has {wanted} and biases for '
            f'{channels} channels (SE with reduction={channels // wanted})'
        )


def _require_timms_eca(block: Attention, channels: int) -> None:
    size, wanted = block.weights['conv.weight'].shape[-1], max(3, adaptive_kernel_size(channels))
    if size != wanted:
        raise NotMappable(
            f'the ECA in {block.host} has kernel_size={size}; timm has {wanted} for {channels} channels'
        )


_FITS_TIMM: dict[str, Callable[[Attention, int], None]] = dict(SE=_require_timms_se, ECA=_require_timms_eca)
_FIRST = dict(SE='fc1.weight', ECA='conv.weight')


def _absorb(block: Attention, own: dict[str, Tensor]) -> None:
    """Turn ``2 * sigmoid(f(x)) * x`` into ``sigmoid(f(x / 2 * 2)) * (2 * x)``: both factors are exact."""
    norm = f'{block.host}.{"bn3" if f"{block.host}.bn3.weight" in own else "bn2"}'
    for name in (f'{norm}.weight', f'{norm}.bias'):
        own[name] = own[name] * 2
    first = _FIRST[block.type]
    block.weights[first] = block.weights[first] / 2


def _timm_name(key: str, deep: bool) -> str:
    if not deep:
        return key
    return re.sub(r'^stem\.', 'conv1.', re.sub(r'^stem\.7\.', 'bn1.', key))
