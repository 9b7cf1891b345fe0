"""Compare a converted backbone with the source model: the maps of the four stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mmattn.checkpoints.convert.conversion import Conversion
from mmattn.checkpoints.convert.errors import NotConverted
from mmattn.checkpoints.convert.peers import NoPeer, build_peer

TOLERANCE = 1e-10
"""Largest difference that passes, in fp64 and relative to the largest value of a map."""


def verify(conversion: Conversion, weights: Mapping[str, Tensor]) -> list[float]:
    """Rebuild the source model with its weights, and compare its stages with those of the conversion.

    Args:
        conversion: What :func:`~mmattn.checkpoints.convert.conversion.convert` returned.
        weights: The weights that it was given.

    Returns:
        The largest difference of each stage, relative to the largest value of the map.

    Raises:
        NoPeer: The model is not known, or its library is not installed.
        NotConverted: The maps differ.
    """
    if conversion.model is None:
        raise NoPeer('the file is of no model that is known by name, so there is nothing to compare with')
    peer, stages = build_peer(conversion.model)
    strip = 'backbone.' if conversion.model.library == 'mmpretrain' else ''
    own = peer.state_dict()
    state = {key.removeprefix(strip): value for key, value in weights.items()}
    peer.load_state_dict(own | {key: value for key, value in state.items() if key in own}, strict=True)
    found = stage_differences(peer, stages, conversion.build())
    if max(found) > TOLERANCE:
        raise NotConverted(
            f'the maps differ from those of {conversion.model.name}: in the four stages by '
            f'{", ".join(f"{d:.1e}" for d in found)}'
        )
    return found


@torch.no_grad()
def stage_differences(peer: nn.Module, stages: Sequence[str], backbone: nn.Module) -> list[float]:
    """Return the largest difference of each stage, relative to the map's largest value.

    In fp64, on an image that is not square.
    """
    image = torch.randn(2, 3, 65, 97, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theirs: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(module, inputs, output):
            theirs[name] = output.clone()  # a later layer may write into it

        return hook

    hooks = [peer.get_submodule(name).register_forward_hook(keep(name)) for name in stages]
    try:
        peer.double()(image)
    except RuntimeError:  # a head that fits square images only, after the last stage
        if len(theirs) < len(stages):
            raise
    finally:
        for hook in hooks:
            hook.remove()
    ours = backbone.double()(image)
    return [
        float((theirs[name] - found).abs().max() / theirs[name].abs().max())
        for name, found in zip(stages, ours)
    ]
