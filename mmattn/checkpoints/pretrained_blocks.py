"""Load attention from the file that a part's ``init_cfg`` names, such as a backbone pretrained with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmattn.checkpoints.state import ATTENTION, specs_in, state_dict_of
from mmattn.insertion.pretrained_check import prefix_of, warn_of_other_insertion
from mmattn.insertion.site import Site
from mmattn.registry import FUNCTIONS


@FUNCTIONS.register_module()
def load_pretrained_blocks(model: nn.Module, path: str, cfg: Mapping) -> set[Site]:
    """Load the blocks that pretrained weights have for the sites of one part of ``model``.

    A file holds them as ``attention.backbone_*``, made with attention in the whole model, or as
    ``backbone.attention.*``, made with attention in the backbone. Those in a file without a prefix are
    ``attention.*``.

    Args:
        model: A model with attention.
        path: Path of the part, such as ``'backbone'``.
        cfg: Its ``init_cfg`` of type ``Pretrained``.

    Returns:
        The sites whose blocks were loaded.
    """
    state = state_dict_of(
        CheckpointLoader.load_checkpoint(cfg['checkpoint'], map_location='cpu', logger='silent')
    )
    prefix = prefix_of(cfg)
    found = _blocks_of(state, prefix)
    if not found:
        return set()
    sites = [site for site in model.attention.claims if site.name.startswith(f'{path}.')]
    loaded, refused = set(), {}
    for site in sites:
        key = site.name[len(path) + 1 :].replace('.', '_')
        if key in found:
            why = _load(model.attention[site.key], found.pop(key))
            if why:
                refused[site.name] = why
            else:
                loaded.add(site)
    print_log(
        f"attention: loaded {len(loaded)} of {len(sites)} blocks in '{path}' from {cfg['checkpoint']}",
        logger='current',
    )
    _warn_of_other_options(model, state, path, prefix, loaded)
    problems = [f"'{name}' {why}" for name, why in refused.items()]
    problems += [f"'{key}' has no site here" for key in found]
    if problems:
        more = f'; and {len(problems) - 3} more' if len(problems) > 3 else ''
        print_log(
            f'PRETRAINED ATTENTION WAS NOT LOADED from {cfg["checkpoint"]}: {"; ".join(problems[:3])}{more}. '
            'The insert of the config should be that of the pretraining, as far as this part goes.',
            logger='current',
            level=logging.WARNING,
        )
    return loaded


def _warn_of_other_options(
    model: nn.Module, state: Mapping[str, Tensor], path: str, prefix: str, loaded: set[Site]
) -> None:
    """Warn if loaded weights are of blocks with other options, such as another start."""
    names = {site.name for site in loaded}
    spec = dict(insert=[each for each in model.attention.spec['insert'] if each['at'] in names])
    for part, encoded in specs_in(state).items():
        if part in ('', prefix.rstrip('.')):
            cut = 0 if part else len(prefix)

            def ours(theirs: str, cut: int = cut) -> str | None:
                name = f'{path}.{theirs[cut:]}'
                return name if name in names else None

            warn_of_other_insertion(spec, encoded, ours)


def _blocks_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, dict[str, Tensor]]:
    """Return the weights of each block of a part in a file, by the name of its site within the part."""
    found: dict[str, dict[str, Tensor]] = {}
    starts = [f'{prefix}{ATTENTION}', f'{ATTENTION}{prefix.replace(".", "_")}']
    for name, value in state.items():
        start = next((each for each in starts if name.startswith(each)), None)
        block, _, parameter = name[len(start or '') :].partition('.')
        if start is not None and parameter:  # not the spec, which is no block's
            found.setdefault(block, {})[parameter] = value
    return found


def _load(block: nn.Module, weights: dict[str, Tensor]) -> str:
    """Load a block's weights; return why they are not its own, or nothing."""
    own = {name: tuple(value.shape) for name, value in block.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in weights.items()}
    differing = [name for name in {**own, **theirs} if own.get(name) != theirs.get(name)]
    if differing:
        name = differing[0]
        found, needed = theirs.get(name, 'missing'), own.get(name, 'nothing')
        return f'is another block there: {name} is {found}, needed {needed}'
    block.load_state_dict(weights)
    return ''
