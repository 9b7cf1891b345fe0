"""Find blocks that MMDetection's ``plugins=`` put into a checkpoint, and what to write to have them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping

from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from mmattn.checkpoints.state import state_dict_of
from mmattn.registry import MODELS

_IN_A_RESIDUAL_BLOCK = re.compile(r'((?:.*\.)?)layer(\d+)\.(\d+)\.([^.]+)\.')


def lost_plugins(model: nn.Module, checkpoint: Mapping) -> dict[str, str]:
    """Return what to write for plugins of a checkpoint that a model lacks, by the path of their backbone.

    A block without weights, as SimAM, is found in the config that MMEngine keeps in a checkpoint.
    """
    own = {'.'.join(part for part in key.split('.') if part != 'module') for key in model.state_dict()}
    modules = {key.rpartition('.')[0] for key in own}
    types = _types_by_abbr()
    found: dict[str, dict[str, set[int]]] = {}
    for key in state_dict_of(checkpoint).keys() - own:
        match = _IN_A_RESIDUAL_BLOCK.match(key)
        name = match and _type_of(match[4], types)
        if name and any(module.startswith(f'{match[1]}layer{match[2]}.{match[3]}.') for module in modules):
            found.setdefault(match[1].rstrip('.'), {}).setdefault(name, set()).add(int(match[2]))
    configured = _plugins_in_config(checkpoint)
    written = configured and f'plugins={ast.unparse(configured)}'
    lost = {path: written or _from_weights(plugins) for path, plugins in found.items()}
    if not lost and configured and own & state_dict_of(checkpoint).keys():
        if _lacks_a_block_without_weights(model, configured):
            lost[''] = written
    return lost


def _lacks_a_block_without_weights(model: nn.Module, plugins: ast.List) -> bool:
    """Whether a block of ours that has no weights is among the plugins of a config, and not in the model."""
    names = {
        node.value.value.removeprefix('mmattn.')
        for node in ast.walk(plugins)
        if isinstance(node, ast.keyword) and node.arg == 'type' and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str) and node.value.value.startswith('mmattn.')
    }
    classes = [cls for name in names if isinstance(cls := MODELS.get(name), type)]
    present = {type(module) for module in model.modules()}
    return any(cls not in present and not _has_weights(cls) for cls in classes)


def _has_weights(cls: type[nn.Module]) -> bool:
    try:
        return bool(cls(in_channels=8).state_dict())
    except Exception:  # a user's own block that wants other arguments
        return True


def _types_by_abbr() -> dict[str, str]:
    """Return the types of the blocks that can be plugins by the name under which MMCV registers them."""
    classes = [(f'mmattn.{name}', cls) for name, cls in MODELS.module_dict.items()]
    classes += [(f'mmcv.{name}', cls) for name, cls in ROOT_MODELS.module_dict.items()]
    return {
        cls._abbr_: name for name, cls in reversed(classes) if isinstance(getattr(cls, '_abbr_', None), str)
    }


def _type_of(name: str, types: Mapping[str, str]) -> str | None:
    fitting = [abbr for abbr in types if re.fullmatch(rf'{abbr}(\d*|_\w+)', name)]  # with MMCV's postfix
    return types[max(fitting, key=len)] if fitting else None


def _from_weights(plugins: Mapping[str, Iterable[int]]) -> str:
    written = ', '.join(
        f'dict(cfg=dict(type={name!r}), stages={tuple(i in layers for i in range(1, 5))}, '
        "position='after_conv3')"
        for name, layers in sorted(plugins.items())
    )
    return (
        f'plugins=[{written}]\nwith the position and the options, such as start, of the training: the '
        'weights do not say them'
    )


def _plugins_in_config(checkpoint: Mapping) -> ast.List | None:
    """Return the list ``plugins`` of the config that MMEngine keeps in a checkpoint; it is read, not run."""
    meta = checkpoint.get('meta')
    text = meta.get('cfg') if isinstance(meta, Mapping) else None
    try:
        tree = ast.parse(text) if isinstance(text, str) else None
    except (SyntaxError, ValueError):
        tree = None
    lists = [
        node.value
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.keyword) and node.arg == 'plugins' and isinstance(node.value, ast.List)
    ]
    return lists[0] if lists and lists[0].elts else None


def plugins_remedy(path: str, written: str) -> str:
    """Return the lines to write in a config for the backbone at ``path``."""
    where = f"the config of '{path}'" if path else 'the config of the backbone'
    return f'Write in {where}:\n  {written}'
