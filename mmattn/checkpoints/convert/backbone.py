"""Tell from the shapes of weights, named as MMDetection names them, which of its backbones has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmattn.checkpoints.convert.errors import NotMappable

_DEPTHS = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
_STEM = {'stem.0.weight': (32, 3, 3, 3), 'stem.3.weight': (32, 32, 3, 3), 'stem.6.weight': (64, 32, 3, 3)}


def backbone_of(state: Mapping[str, Tensor], style: str) -> dict[str, Any]:
    """Return the config of the backbone that has these weights, without its attention.

    Args:
        state: The weights by MMDetection's names.
        style: The one thing that no shape says.

    Raises:
        NotMappable: No backbone of MMDetection has them.
    """
    blocks = _blocks(state)
    bottleneck = 'layer1.0.conv3.weight' in state
    depth = _DEPTHS.get((bottleneck, blocks))
    if depth is None:
        known = ', '.join(f'{depth} ({_text(*each)})' for each, depth in _DEPTHS.items())
        raise NotMappable(
            f"the stages have {_text(bottleneck, blocks)}, a depth that MMDetection's ResNet does not have. "
            f'It has {known}'
        )
    deep_stem = _is_deep_stem(state)
    _require_small_shortcuts(state)
    avg_down = any(re.fullmatch(r'layer\d\.0\.downsample\.2\.weight', key) for key in state)
    groups, base_width = _widths(state, bottleneck)
    if groups == 2 and 'layer1.0.conv2.paths.0.conv.weight' in state:
        raise NotMappable(  # two groups would have these shapes, and compute something else
            "its two branches split the input (split_input=True, as in timm's skresnet50), and those of "
            'mmattn.SKConv take all of it, as in the paper'
        )
    cfg: dict[str, Any] = dict(type='ResNet', depth=depth)
    if deep_stem and avg_down and groups == 1:
        cfg['type'] = 'ResNetV1d'
    else:
        if groups > 1:
            cfg |= dict(type='ResNeXt', groups=groups, base_width=base_width)
        if deep_stem:
            cfg['deep_stem'] = True
        if avg_down:
            cfg['avg_down'] = True
    return cfg | dict(style=style)


def _text(bottleneck: bool, blocks: tuple[int, ...]) -> str:
    return f'{"-".join(map(str, blocks)) or "no"} {"bottlenecks" if bottleneck else "basic blocks"}'


def _blocks(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The number of residual blocks of each stage."""
    found: dict[int, set[int]] = {}
    for key in state:
        match = re.match(r'layer(\d+)\.(\d+)\.', key)
        if match:
            found.setdefault(int(match[1]), set()).add(int(match[2]))
    return tuple(len(found[stage]) for stage in sorted(found))


def _is_deep_stem(state: Mapping[str, Tensor]) -> bool:
    shapes = {key: tuple(state[key].shape) for key in _STEM if key in state}
    if not shapes:
        return False
    if shapes != _STEM:
        widths = '-'.join(str(shape[0]) for shape in shapes.values())
        raise NotMappable(
            f"the stem has widths {widths}, and that of MMDetection's ResNetV1d 32-32-64: no option gives "
            "a tiered stem ('t' in the model's name) or another width"
        )
    return True


def _require_small_shortcuts(state: Mapping[str, Tensor]) -> None:
    for key, value in state.items():
        if re.search(r'\.downsample\.[01]\.weight$', key) and value.dim() == 4 and value.shape[-1] != 1:
            raise NotMappable(
                f'its shortcuts are {value.shape[-1]}x{value.shape[-1]} convolutions ({key}), as in '
                "SENet-154; MMDetection's are 1x1"
            )


def _widths(state: Mapping[str, Tensor], bottleneck: bool) -> tuple[int, int]:
    """``groups`` and ``base_width``; all stages have to have the widths that follow from them."""
    groups, base_width = 1, 64
    if bottleneck:
        first = 'layer1.0.conv2.{}weight'
        middle = state.get(first.format(''), state.get(first.format('paths.0.conv.')))
        groups = max(middle.shape[0] // middle.shape[1], 1)
        base_width = middle.shape[0] // groups if groups > 1 else 64
    for key, value in state.items():
        match = re.fullmatch(r'layer(\d)\.\d+\.conv([123])(\.paths\.\d\.conv)?\.weight', key)
        if match is None:
            continue
        width = 64 * 2 ** (int(match[1]) - 1)
        expected = 4 * width if match[2] == '3' else width * base_width // 64 * groups
        if value.shape[0] != expected:
            raise NotMappable(
                f"{key} has {value.shape[0]} channels, and that of MMDetection's ResNet {expected}: the "
                'model was pruned, or has widths of its own'
            )
    return groups, base_width
