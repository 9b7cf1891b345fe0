"""Write the part of a config that a converted checkpoint needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmattn.checkpoints.convert.conversion import Conversion

_STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
"""How all these models take their images: RGB, by the statistics of ImageNet."""


def fragment(conversion: Conversion, path: str, form: str = 'attention') -> str:
    """Return the lines to paste into the config of a detector.

    Args:
        conversion: The converted checkpoint.
        path: The file that it is written to.
        form: Where the blocks are: ``'attention'`` or ``'plugins'``.
    """
    backbone = conversion.backbone_config(form)
    attention = form == 'attention' and bool(conversion.blocks)
    lines = [f'load_from = {path!r}', 'model = dict(']
    if attention:
        lines += [
            "    type='mmattn.WithAttention',",
            "    detector='FasterRCNN',  # the type of your detector",
        ]
    lines += [f'    data_preprocessor={_source(_STATISTICS)},', '    backbone=dict(']
    lines += [f'        {key}={_source(value)},' for key, value in backbone.items() if key != 'plugins']
    lines += _list('        plugins', backbone.get('plugins', ()))
    lines += ['        init_cfg=None,', '    ),']  # of the base: load_from brings the weights
    if attention:
        lines += _list('    insert', conversion.insert)
    return '\n'.join([*lines, ')'])


def _list(name: str, entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of ``name=[...]``; none for an empty list."""
    if not entries:
        return []
    indent = ' ' * (len(name) - len(name.lstrip()))
    return [f'{name}=[', *(f'{indent}    {_source(each)},' for each in entries), f'{indent}],']


def _source(value: Any) -> str:
    """A value as it stands in a config."""
    if isinstance(value, Mapping):
        return f'dict({", ".join(f"{key}={_source(each)}" for key, each in value.items())})'
    return repr(value)
