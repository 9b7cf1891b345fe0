"""Which implementation of the functions of a map is used."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from torch import Tensor

VARIABLE = 'MMATTN_OPS'
IMPLEMENTATIONS = {
    'auto': 'triton on CUDA, compiled or aten on a CPU; plain elsewhere, under torch.compile and in exports',
    'plain': 'the definitions, differentiated by PyTorch',
    'aten': 'backward passes by formula, by calls of PyTorch',
    'compiled': 'the same by C that is compiled when first needed: float32 and bfloat16 in NCHW on a CPU, else as auto',
    'triton': 'the same by Triton kernels',
}
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_chosen: str | None = None
_told: set[str] = set()


def tell_once(message: str) -> None:
    """Log a warning, the first time in this process."""
    if message not in _told:
        _told.add(message)
        print_log(f'mmattn: {message}', logger='current', level=logging.WARNING)


def _checked(name: str, where: str) -> str:
    if name not in IMPLEMENTATIONS:
        raise ValueError(f'{where}{name!r}; possible: {", ".join(map(repr, IMPLEMENTATIONS))}')
    return name


def chosen() -> str:
    """What :func:`implementation` says, else the environment variable ``MMATTN_OPS``, else ``'auto'``."""
    return _chosen or _checked(os.environ.get(VARIABLE) or 'auto', f'{VARIABLE}=')


@contextmanager
def implementation(name: str) -> Iterator[None]:
    """A context in which the blocks compute in this way; the numbers are the same but for rounding.

    It holds for the whole process, so that threads must not enter it beside each other. A backward pass goes
    the way that its forward pass went, wherever it runs; with activation checkpointing, which runs the forward
    pass again, the context has to span both. All but ``'plain'`` cannot be differentiated twice. A compiled
    model is compiled anew for each name.

    Args:
        name: ``'auto'``, ``'plain'``, ``'aten'``, ``'compiled'`` or ``'triton'``, as in ``IMPLEMENTATIONS``.

    Raises:
        ValueError: There is no such name.
        RuntimeError: This machine has not got it; the message says why.

    Example:
        >>> import torch
        >>> from mmattn import ops
        >>> from mmattn.blocks import SE
        >>> block, x = SE(64), torch.rand(2, 64, 7, 5)
        >>> with ops.implementation('plain'):
        ...     y = block(x)
        >>> torch.allclose(block(x), y)
        True
    """
    global _chosen
    _checked(name, 'implementation: ')
    missing = missing_reason(name)
    if missing:
        raise RuntimeError(f'implementation {name!r} cannot be used: {missing}')
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


def missing_reason(name: str) -> str:
    """Why this machine has not got an implementation; empty if it has."""
    if name == 'triton':
        from mmattn.ops import triton_passes

        return triton_passes.missing_reason()
    if name == 'compiled':
        from mmattn.ops import compiled_passes

        return compiled_passes.missing_reason()
    return ''


def is_dense(x: Tensor) -> bool:
    """Whether a map is NCHW or channels_last, without gaps."""
    return x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)


def _is_watched() -> bool:
    """Whether somebody waits for single operations: they shall get those of PyTorch."""
    return (
        torch.jit.is_tracing()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch.autograd.forward_ad._current_level >= 0
    )


def _has_no_data(x: Tensor) -> bool:
    return type(x).__module__ == 'torch._subclasses.fake_tensor'


def in_graph(x: Tensor) -> bool:
    """Whether what is done with ``x`` is captured rather than computed: it takes whole operators then."""
    return torch.compiler.is_compiling() or _has_no_data(x)


def implementation_for(x: Tensor, maxima: bool = False) -> str:
    """How functions of the map ``x`` shall be computed: ``'plain'``, ``'aten'``, ``'compiled'``, ``'triton'``.

    ``maxima``: a compiler shall not be left alone with them.
    """
    captured = in_graph(x)
    if type(x) is not Tensor and not (torch.compiler.is_exporting() or _has_no_data(x)):
        return 'plain'
    if x.dim() != 4 or x.dtype not in _DTYPES or x.numel() == 0 or not is_dense(x):
        return 'plain'
    if not captured and (_is_watched() or x.is_neg()):
        return 'plain'
    return _choice(
        _chosen,
        x.device.type,
        x.dtype in (torch.float32, torch.bfloat16) and x.is_contiguous(),
        captured and not (maxima and not torch.compiler.is_exporting()),
    )


def _choice(name: str | None, device: str, for_c: bool, leave_to_compiler: bool) -> str:
    name = name or chosen()
    # A compiler joins passes by itself and lays maps out as it likes; ours would stand in its way.
    if name == 'plain' or leave_to_compiler and name == 'auto':
        return 'plain'
    if name == 'aten':
        return name
    if device == 'cuda':
        missing = missing_reason('triton')
        if missing:
            tell_once(f'attention is computed in plain PyTorch, more slowly: {missing}')
        return 'plain' if missing else 'triton'
    if device != 'cpu':
        return 'plain'
    if name == 'triton':  # by its interpreter
        return name
    return 'compiled' if for_c and not missing_reason('compiled') else 'aten'


# As torch.compiler.assume_constant_result does, which takes half a second to import: a compiler shall ask this
# once and not look into it.
_choice._dynamo_marked_constant = True
