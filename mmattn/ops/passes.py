"""The passes over a map, of which blocks are made, and who makes them.

Each reads what it needs of a map once. Sums are taken in at least fp32; a gate is rounded to the dtype of
the map before it is applied, and so is each product, as by multiplications in PyTorch. ``x`` is a map
``(N, C, H, W)``, dense in NCHW or channels_last; ``g`` a channel gate ``(N, C, 1, 1)``; ``s`` a spatial gate
``(N, 1, H, W)``; each gate may be absent.

====================  ===========================================================================
``pool``              mean, maximum and number of maxima over positions, ``(N, C, 1, 1)`` each; the
                      latter two are empty unless ``peaks``
``stats``             maximum and mean over the channels of ``x * g``, ``(N, 2, H, W)``; number of
                      maxima ``(N, 1, H, W)``
``gate``              ``(x * g) * s``
``gate_backward``     gradients of ``g`` and ``s``; empty where the gate is absent
``stats_backward``    gradient of ``g`` by way of ``stats``
``map_backward``      gradient of ``x`` by all ways together
====================  ===========================================================================

Equal maxima share their gradient evenly; hence their number.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from mmattn.ops import aten_passes
from mmattn.ops.switch import is_dense, tell_once


def map_format(x: Tensor) -> torch.memory_format:
    """NCHW where the map is that, else channels_last."""
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


def _module(how: str, format_: torch.memory_format) -> ModuleType:
    if how == 'triton':
        from mmattn.ops import triton_passes

        if not triton_passes.missing_reason():
            return triton_passes
    elif how == 'compiled' and format_ is torch.contiguous_format:
        from mmattn.ops import compiled_passes

        return compiled_passes
    return aten_passes


def run(name: str, *args):
    """The pass ``name``; the last argument says by whom. Triton's failure is told once, and mended by ATen."""
    *args, how = args
    at = int(name in ('gate_backward', 'map_backward'))  # dy comes before x
    # A compiler of graphs may lay maps out in another way than they were when it looked.
    if not is_dense(args[at]):
        args[at] = args[at].contiguous()
    format_ = map_format(args[at])
    if at and args[0] is not None:
        args[0] = args[0].contiguous(memory_format=format_)
    module = _module(how, format_)
    try:
        return getattr(module, name)(*args)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a compiler fails in many ways
        if how != 'triton' or module is aten_passes or module.is_interpreted():
            raise
        made = getattr(aten_passes, name)(*args)  # if that fails too, it was not Triton's fault
        module.give_up(f'Triton failed in {name}: {type(error).__name__}: {str(error)[:500]}')
        tell_once(f'attention is computed in plain PyTorch, more slowly: {module.missing_reason()}')
        return made
