"""What the contract is checked on: blocks of a class, with options and maps that fit it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmattn.blocks.base import AttentionBlock

COMMON = ('in_channels', 'start', 'init_cfg')
SHAPES = [(2, 32, 9, 5), (1, 32, 1, 1), (2, 32, 1, 7), (0, 32, 4, 4), (1, 32, 13, 8)]


@dataclass(frozen=True)
class Case:
    """What the contract needs to know about a block beyond its class.

    Attributes:
        options: Values for the options without a default.
        values: Values to draw from, for each of the block's own options; channels are a multiple of 4.
        frames: Number of frames per clip in the batch.
        without_effect: Name endings of parameters that by definition do not affect the output.
    """

    options: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    frames: int = 1
    without_effect: tuple[str, ...] = ()


class Subject:
    """Builds blocks of a class with the options of its case: ``subject(channels, **options)``."""

    def __init__(self, cls: type, case: Case | None = None):
        self.cls = cls
        self.name = cls.__name__
        self.case = case or Case()
        try:
            self.role, self.problem = self(32).role, None
        except Exception as error:  # the rule can_be_built reports it
            self.role, self.problem = getattr(cls, 'role', 'gate'), error

    def __call__(self, in_channels: int, **options: Any) -> AttentionBlock:
        return self.cls(in_channels, **{**self.case.options, **options})

    def own_options(self) -> list[str]:
        """Return the names of the options that not all blocks have."""
        return [name for name in inspect.signature(self.cls).parameters if name not in COMMON]

    def shape(self, n: int, *rest: int) -> tuple[int, ...]:
        """Return ``(n, *rest)``, with n clips instead of n images if the block works on clips."""
        return (n * self.case.frames, *rest)

    def map(self, n: int, *rest: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a random map of :meth:`shape`."""
        return smooth_map(*self.shape(n, *rest), dtype=dtype)


def randomise(block: nn.Module, seed: int = 0) -> nn.Module:
    """Give all parameters and statistics random values, so that each affects the output."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in block.state_dict().items():
        if tensor.is_floating_point():
            values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            scale = 0.2 / max(tensor[0].numel(), 1) ** 0.5 if tensor.dim() > 1 else 0.5
            tensor.copy_(values + 0.5 if 'running_var' in name else (values - 0.5) * 10 * scale)
    return block


def smooth_map(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """Return a random map without equal values, so that maxima are differentiable."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def grads_of(block: nn.Module, x: Tensor, run: Callable | None = None) -> dict[str, Tensor]:
    """Return all parameters' gradients of a weighted sum of the output; ``run`` computes it, if given."""
    block.zero_grad()
    out = (block if run is None else run)(x)
    (out * smooth_map(*out.shape, dtype=out.dtype, seed=3)).sum().backward()
    return {name: p.grad for name, p in block.named_parameters()}


PRECISIONS = {torch.float16: 0.025, torch.bfloat16: 0.2, torch.float32: 1e-4}
"""Relative errors that a model in each precision may make: gradients are sums of terms that cancel out."""


def results_of(run: Callable, x: Tensor, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the output for a map, and the gradients of a weighted sum of it, by what they are of."""
    x = x.detach().requires_grad_()
    parameters = {name: p for name, p in parameters.items() if p.requires_grad}
    out = run(x)
    # In bfloat16 the same weights for all.
    weight = smooth_map(*out.shape, dtype=torch.bfloat16, seed=3).to(out.dtype)
    grads = torch.autograd.grad((out * weight).sum(), [x, *parameters.values()])
    names = ['the map', *parameters]
    return {'the output': out, **{f'the gradient of {name}': grad for name, grad in zip(names, grads)}}


def off_by(got: dict[str, Tensor], exact: dict[str, Tensor], dtype: torch.dtype) -> str:
    """Return which result of a model in ``dtype`` is wrong, and by how much; empty if none is.

    Args:
        got: The :func:`results_of` the model.
        exact: Those in float64, of the same rounded weights and map.
        dtype: One of ``PRECISIONS``.
    """
    largest = max(each.abs().max() for each in exact.values())
    for name, value in got.items():
        if value.dtype != dtype:
            return f'in a model of {dtype} {name} is in {value.dtype}'
        error = (value.double() - exact[name]).abs().max()
        # A gradient may be zero but for rounding, as that of a bias before a norm.
        bound = PRECISIONS[dtype] * max(exact[name].abs().max(), 0.1 * largest)
        if not error <= bound:
            return f'in a model of {dtype} {name} is off by {error:.3g}, more than {bound:.3g}'
    return ''


def is_zero(grad: Tensor | None) -> bool:
    """True if a gradient is missing or zero everywhere."""
    return grad is None or not grad.abs().sum() > 0
