"""The dispatcher: the one place that decides which backend computes a map, and that runs it.

A choice is made once, when a map becomes lazy; its backward pass uses the same backend.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mmattn._private_apis import assume_constant_result
from mmattn.ops.backends.base import Backend, TailBackend
from mmattn.ops.once import warn_once
from mmattn.ops.tensors import has_no_data, in_graph, is_dense, is_exporting, is_watched

VARIABLE = 'MMATTN_OPS'
BACKENDS = {
    'auto': 'triton on CUDA, cpu or aten on a CPU; plain elsewhere, under torch.compile and in exports',
    'plain': 'the definitions, differentiated by PyTorch',
    'aten': 'backward passes by formula, by calls of PyTorch',
    'cpu': 'the same in C, built when first needed: float32 and bfloat16 in NCHW on a CPU, else as auto',
    'triton': 'the same by Triton kernels',
}
"""Backends by name, with what each is."""
_MODULES = {name: f'mmattn.ops.backends.{name}' for name in ('aten', 'cpu', 'triton')}
_TAIL_MODULES = {
    'aten': 'mmattn.ops.backends.aten_tail',
    'cpu': 'mmattn.ops.backends.cpu.tail',
    'triton': 'mmattn.ops.backends.triton.tail',
}
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_chosen: str | None = None


def _checked(name: str, where: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f'{where}{name!r}; possible: {", ".join(map(repr, BACKENDS))}')
    return name


def chosen() -> str:
    """The name given to :func:`backend`, else by the environment variable ``MMATTN_OPS``, else ``'auto'``."""
    return _chosen or _checked(os.environ.get(VARIABLE) or 'auto', f'{VARIABLE}=')


@contextmanager
def backend(name: str) -> Iterator[None]:
    """A context in which blocks compute by this backend; the numbers are the same but for rounding.

    It holds for the whole process, so threads must not enter it concurrently. A backward pass uses the
    backend of its forward pass, wherever it runs; with activation checkpointing, which runs the forward
    pass again, the context has to span both. All but ``'plain'`` cannot be differentiated twice.
    torch.compile compiles a model again for each name.

    Args:
        name: ``'auto'``, ``'plain'``, ``'aten'``, ``'cpu'`` or ``'triton'``, as in ``BACKENDS``.

    Raises:
        ValueError: There is no such name.
        RuntimeError: This machine cannot run the backend; the message says why.

    Example:
        >>> import torch
        >>> from mmattn import ops
        >>> from mmattn.blocks import SE
        >>> block, x = SE(64), torch.rand(2, 64, 7, 5)
        >>> with ops.backend('plain'):
        ...     y = block(x)
        >>> torch.allclose(block(x), y)
        True
    """
    global _chosen
    _checked(name, 'backend: ')
    missing = missing_reason(name)
    if missing:
        raise RuntimeError(f'backend {name!r} cannot be used: {missing}')
    before, _chosen = _chosen, name
    try:
        yield
    finally:
        _chosen = before


@functools.lru_cache(None)
def _module(name: str) -> Backend:
    return importlib.import_module(_MODULES[name])


@functools.lru_cache(None)
def _tail_module(name: str) -> TailBackend:
    return importlib.import_module(_TAIL_MODULES[name])


def missing_reason(name: str) -> str:
    """Why this machine cannot run a backend; empty if it can."""
    return _module(name).missing_reason() if name in _MODULES else ''


def reason_not(name: str, x: Tensor) -> str:
    """Why the backend ``name`` would not compute the map ``x``; empty if it could."""
    if name == 'plain':
        return ''
    return _map_reason(x) or missing_reason(name) or ('' if name != 'cpu' or _suits_cpu(x) else _NOT_FOR_CPU)


_NOT_FOR_CPU = 'the cpu backend takes float32 and bfloat16 in NCHW on a CPU'


def _map_reason(x: Tensor) -> str:
    """Why only the definitions can compute the map."""
    if type(x) is not Tensor and not (is_exporting() or has_no_data(x)):
        return 'it is a subclass of Tensor'
    if not in_graph(x) and (is_watched() or x.is_neg()):
        return 'a tracer, a dispatch mode or functorch must see plain ATen operations'
    if x.dim() != 4 or x.dtype not in _DTYPES or x.numel() == 0 or not is_dense(x):
        return 'it is not a dense map (N, C, H, W) of floating point numbers'
    return ''


def _suits_cpu(x: Tensor) -> bool:
    return x.device.type == 'cpu' and x.dtype in (torch.float32, torch.bfloat16) and x.is_contiguous()


def backend_for(x: Tensor, maxima: bool = False) -> str:
    """The backend for functions of the map ``x``: ``'plain'``, ``'aten'``, ``'cpu'`` or ``'triton'``.

    ``maxima``: keep our operator even under torch.compile; Inductor gets the gradient of ``amax`` wrong in
    half precision.
    """
    if _map_reason(x):
        return 'plain'
    captured = in_graph(x)
    leave_to_compiler = captured and not (maxima and not is_exporting())
    return _choose(_chosen, x.device.type, _suits_cpu(x), captured, leave_to_compiler)


@assume_constant_result
def _choose(name: str | None, device: str, suits_cpu: bool, captured: bool, leave_to_compiler: bool) -> str:
    """The policy."""
    name = name or chosen()
    # A compiler fuses by itself and chooses layouts; our operators would stand in its way.
    if name == 'plain' or leave_to_compiler and name == 'auto':
        return 'plain'
    if captured and (missing := _operators_missing_reason()):
        warn_once(f'attention is captured in plain PyTorch: {missing}')
        return 'plain'
    if name == 'aten':
        return name
    if device == 'cuda':
        missing = missing_reason('triton')
        if missing:
            warn_once(f'attention is computed in plain PyTorch, more slowly: {missing}')
        return 'plain' if missing else 'triton'
    if device != 'cpu':
        return 'plain'
    if name == 'triton':  # by its interpreter
        return name
    return 'cpu' if suits_cpu and not missing_reason('cpu') else 'aten'


def _operators_missing_reason() -> str:
    from mmattn.ops import autograd  # registers operators of torch.library when a graph first needs them

    return autograd.operators_missing_reason()


def run(function: str, name: str, x: Tensor, *args):
    """Call a function of :class:`~mmattn.ops.backends.base.Backend`.

    A compiled graph may hand over a map in another layout than it was traced with, which the C code does not
    take; ATen then computes. If Triton fails, this is logged once and ATen computes from then on.

    Args:
        function: Name of the function.
        name: Backend that :func:`backend_for` chose.
        x: The map, dense.
        args: The function's other arguments.
    """
    if name == 'cpu' and not x.is_contiguous() or name == 'triton' and missing_reason(name):
        name = 'aten'
    return _run(_module, function, name, x, *args)


def has_tail(name: str) -> bool:
    """Whether a backend gains by computing the tail of a residual block as one."""
    return name in _TAIL_MODULES and name != 'aten'


def run_tail(function: str, name: str, z: Tensor, *args):
    """Call a function of :class:`~mmattn.ops.backends.base.TailBackend`; as :func:`run`."""
    if name == 'triton' and missing_reason(name):
        name = 'aten'
    return _run(_tail_module, function, name, z, *args)


def _run(module_of: Callable, function: str, name: str, x: Tensor, *args):
    module = module_of(name)
    try:
        return getattr(module, function)(x, *args)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a compiler fails in many ways
        triton = _module('triton') if name == 'triton' else None
        if triton is None or triton.is_interpreted():
            raise
        made = getattr(module_of('aten'), function)(x, *args)  # if that fails too, it was not Triton's fault
        triton.give_up(f'Triton failed in {function}: {type(error).__name__}: {str(error)[:500]}')
        warn_once(f'attention is computed in plain PyTorch, more slowly: {triton.missing_reason()}')
        return made
