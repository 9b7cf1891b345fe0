"""Warn if attention starts at random on pretrained weights, or a checkpoint has another insertion."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from torch import nn

from mmattn.insertion.insert_text import insert_text
from mmattn.insertion.rule import Rule
from mmattn.insertion.site import Site
from mmattn.insertion.spec import decode_spec, differences


def pretrained_cfgs(module: nn.Module) -> list[dict]:
    """Return the entries of a module's ``init_cfg`` that load pretrained weights."""
    init_cfg = getattr(module, 'init_cfg', None)
    cfgs = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    return [
        cfg for cfg in cfgs if isinstance(cfg, dict) and cfg.get('type') in ('Pretrained', PretrainedInit)
    ]


def prefix_of(cfg: Mapping) -> str:
    """Return what comes before a part's names in the file of its ``init_cfg``, with the dot."""
    prefix = cfg.get('prefix') or ''
    return f'{prefix}.' if prefix and not prefix.endswith('.') else prefix


def warn_of_other_insertion(
    spec: Mapping, state: Any, ours: Callable[[str], str | None] | None = None
) -> None:
    """Warn if the encoded spec ``state`` of a checkpoint differs from ``spec``, that of the model.

    Args:
        spec: The spec of the model, or of a part.
        state: The encoded spec.
        ours: Gives the name here of a site in the checkpoint; ``None`` for one that is not looked at.
    """
    if state is None:
        return
    try:
        theirs = decode_spec(state)
    except ValueError as error:
        print_log(
            f"cannot tell if the checkpoint's attention is that of the model: {error}",
            logger='current',
            level=logging.WARNING,
        )
        return
    if ours is not None:
        entries = [dict(each, at=ours(each['at'])) for each in theirs['insert']]
        theirs = dict(theirs, insert=[each for each in entries if each['at'] is not None])
    found = differences(theirs, spec)
    if found:
        print_log(
            'THE ATTENTION OF THE CHECKPOINT IS NOT THAT OF THE MODEL, and its weights will not mean '
            f'what they were trained for: {"; ".join(found)}. The checkpoint was trained with\n'
            f'  {insert_text(theirs["insert"])}\nwhich is what the config should say, unless the '
            'difference is intended.',
            logger='current',
            level=logging.WARNING,
        )


def random_sites(blocks: Iterable[tuple[Site, Rule, nn.Module]]) -> list[Site]:
    """Return the sites whose block starts with random gates."""
    random = [
        site
        for site, _, block in blocks
        if getattr(block, 'role', None) == 'gate'
        and block.start == 'paper'
        and not getattr(block, 'paper_is_identity', False)
        and next(block.parameters(), None) is not None
    ]
    return list(dict.fromkeys(random))


def warn_of_random_start(sites: list[Site], why: str) -> None:
    """Warn that the blocks at ``sites`` scale down pretrained features; ``why`` ends the first sentence."""
    print_log(
        f'attention starts at random on pretrained weights: {len(sites)} block(s), the first at '
        f"'{sites[0].name}', have start='paper', and {why}. Their gates are around 0.5 and "
        'scale down features that the other layers rely on, which usually costs mAP. Write '
        "start='identity' in the block's config to start as the detector without attention, or load a "
        'checkpoint that was trained with this attention.',
        logger='current',
        level=logging.WARNING,
    )
