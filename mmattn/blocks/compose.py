"""Several blocks as one, in a chain or in parallel."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_choice, check_options
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.channels import inner_channel_axes
from mmattn.registry import MODELS


@MODELS.register_module()
class Compose(AttentionBlock):
    """Composition: several blocks as one, in the given order or in parallel.

    ``how='chain'``: each block gets the output of the one before it. ``how='parallel'``: all gates are
    computed from the input, which is multiplied by each of them.

    This makes the ablation of CBAM's order a matter of config: channel then spatial (equal to
    :class:`~mmattn.blocks.CBAM`, bit for bit), spatial then channel, and both in parallel.

    Paper: `Woo et al., ECCV 2018 <https://arxiv.org/abs/1807.06521>`_, table 3.

    Official code: Jongchan/attention-module, ``MODELS/cbam.py``; it has the first of these orders.

    Differences: the paper does not say how to combine parallel gates; here they are multiplied.

    Args:
        in_channels: Number of channels of the map.
        blocks: Configs of the blocks, without ``in_channels``, such as
            ``[dict(type='mmattn.ChannelAttention'), dict(type='mmattn.SpatialAttention')]``. To use any other
            module, wrap it in :class:`~mmattn.blocks.External`.
        how: ``'chain'`` or ``'parallel'``; all blocks must be gates for the latter.
        start: The start of all blocks whose config has none; see
            :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.
        - Gates: those of the blocks; gates with the same name are multiplied.

    Example:
        >>> import torch
        >>> from mmattn.blocks import Compose
        >>> x = torch.rand(2, 64, 7, 5)
        >>> halves = [dict(type='mmattn.SpatialAttention'), dict(type='mmattn.ChannelAttention')]
        >>> list(Compose(64, halves).gates(x))
        ['spatial', 'channel']
        >>> Compose(64, halves, how='parallel', start='identity')(x).equal(x)
        True
    """

    _abbr_ = 'compose'

    def __init__(
        self,
        in_channels: int,
        blocks: Sequence[Mapping],
        how: str = 'chain',
        start: str = 'paper',
        init_cfg=None,
    ):
        super().__init__(in_channels, start, init_cfg)
        check_choice(self, 'how', how, ('chain', 'parallel'))
        if (
            not isinstance(blocks, (list, tuple))
            or not blocks
            or not all(isinstance(block, Mapping) and 'type' in block for block in blocks)
        ):
            raise ValueError(
                "Compose: blocks must be a list of configs with a type, such as [dict(type='mmattn."
                "ChannelAttention'), dict(type='mmattn.SpatialAttention')]; got "
                f'{blocks!r}'
            )
        self.how = how
        self.blocks = nn.ModuleList(self._build(block) for block in blocks)
        if start == 'identity':
            self._require_identity()
        additive = next((block for block in self.blocks if block.role != 'gate'), None)
        if how == 'parallel' and additive is not None:
            raise ValueError(
                "Compose: how='parallel' multiplies gates, and "
                f"{type(additive).__name__} has none; use how='chain'"
            )
        self.reset_start()

    def _require_identity(self) -> None:
        for block in self.blocks:
            if block.start != 'identity' and not block.paper_is_identity:
                raise ValueError(
                    f"Compose: start='identity' was asked for, but its part {type(block).__name__} has "
                    f'start={block.start!r}: leave start out of the parts, which then start as Compose does, '
                    'or out of Compose'
                )

    def _build(self, config: Mapping) -> AttentionBlock:
        cls = MODELS.get(config['type']) if isinstance(config['type'], str) else config['type']
        if not inspect.isclass(cls) or not issubclass(cls, AttentionBlock):
            raise ValueError(
                f'Compose: {config["type"]!r} is not an attention block; wrap any other '
                f"module in dict(type='mmattn.External', module=dict(type={config['type']!r}))"
            )
        if cls.role == 'convolution':
            raise ValueError(f'Compose: {cls.__name__} replaces a convolution and cannot be part of a chain')
        options = {key: value for key, value in config.items() if key not in ('type', '_scope_')}
        try:
            check_options(cls, options)
        except TypeError as error:
            raise TypeError(f'Compose: {error}') from None
        return cls(self.in_channels, **{'start': self.start, **options})

    @property
    def role(self) -> str:
        return 'gate' if all(block.role == 'gate' for block in self.blocks) else 'additive'

    @property
    def ceiling(self) -> float:
        return math.prod(block.ceiling for block in self.blocks)

    @property
    def floor(self) -> float:
        return math.prod(block.floor for block in self.blocks)

    @property
    def paper_is_identity(self) -> bool:
        return all(block.start == 'identity' or block.paper_is_identity for block in self.blocks)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for block in self.blocks:
            gates = block.gates(x)
            for name, gate in gates.items():
                if name in found and found[name].shape[1] != gate.shape[1]:  # groups of other sizes
                    found['element'] = found.get('element', 1.0) * _by_element(found.pop(name), x)
                    name, gate = 'element', _by_element(gate, x)
                found[name] = found[name] * gate if name in found else gate
            if self.how == 'chain':
                for gate in gates.values():
                    x = ops.apply_gate(x, gate)
        return found

    def forward(self, x: Tensor) -> Tensor:
        if self.how == 'parallel':
            gates = [gate for block in self.blocks for gate in block.gates(block.lazy_map(x)).values()]
            product = ops.lazy(x)
            for gate in gates:
                product = ops.apply_gate(product, gate)
            return ops.materialize(product)
        for block in self.blocks:
            x = block(x)
        return x

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        return inner_channel_axes(self)

    def reset_parameters(self) -> None:
        for block in self.blocks:
            block.reset_start()


def _by_element(gate: Tensor, x: Tensor) -> Tensor:
    """``(N, G, H, W) -> (N, C, H, W)``."""
    return gate.repeat_interleave(x.shape[1] // gate.shape[1], 1)
