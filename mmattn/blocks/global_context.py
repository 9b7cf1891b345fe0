"""Global context block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import kaiming_init
from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_choice
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS

DEFAULT_RATIO = 1 / 16
FUSIONS = ('channel_add', 'channel_mul')


def _transform(channels: int, hidden: int) -> nn.Sequential:
    """``W2 relu(norm(W1 c))``: ``(N, C, 1, 1) -> (N, C, 1, 1)``."""
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1),
        nn.LayerNorm([hidden, 1, 1]),
        nn.ReLU(),
        nn.Conv2d(hidden, channels, 1),
    )


@MODELS.register_module()
class GlobalContext(AttentionBlock):
    """Global context block (GC): one context vector, added to every position.

    ``x + W2 relu(norm(W1 c))``, where ``c`` is the mean of ``x`` weighted by a softmax over the positions.
    With ``'channel_mul'`` among the fusions, ``x`` is first multiplied by the sigmoid of such a term.

    Paper: `Cao et al., ICCVW 2019 <https://arxiv.org/abs/1904.11492>`_.

    Official code: xvjiarui/GCNet, ``mmdet/ops/gcb/context_block.py``, now MMCV's ``ContextBlock``.
    Parameters have the same names, shapes and initial values (``conv_mask.weight``,
    ``channel_add_conv.0.weight``, ...). The last layer starts at zero, so with ``start='paper'`` the
    addition changes nothing and the multiplication halves the map; ``start='identity'`` multiplies by
    ``2 * sigmoid(z)``, which starts at 1.

    Differences: the context is computed in fp32 under autocast, where MMCV's block overflows in fp16. The
    hidden width is at least 1. ``ratio`` has a default, taken from the paper's tables. A backbone's
    ``init_cfg`` does not overwrite the initial values, as it does with MMCV's block in ``plugins=``.
    timm's ``GlobalContext`` multiplies by default.

    Args:
        in_channels: Number of channels of the map.
        ratio: Hidden width as a fraction of ``in_channels``; 1/16 or 1/4 in the paper.
        pooling_type: ``'att'`` for the softmax, or ``'avg'`` for the plain mean.
        fusion_types: ``'channel_add'``, ``'channel_mul'`` or both.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import GlobalContext
        >>> x = torch.rand(2, 64, 7, 5)
        >>> GlobalContext(64)(x).equal(x)
        True
    """

    _abbr_ = 'global_context'
    role = 'additive'

    def __init__(
        self,
        in_channels: int,
        ratio: float = DEFAULT_RATIO,
        pooling_type: str = 'att',
        fusion_types: Sequence[str] = ('channel_add',),
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio <= 1:
            raise ValueError(
                f'GlobalContext: ratio={ratio!r}; it must be a fraction of the channels, above 0 '
                'and at most 1, such as 1/16'
            )
        check_choice(self, 'pooling_type', pooling_type, ('att', 'avg'))
        if (
            not isinstance(fusion_types, (list, tuple))
            or not fusion_types
            or any(each not in FUSIONS for each in fusion_types)
        ):
            raise ValueError(
                f"GlobalContext: fusion_types={fusion_types!r}; it must be a list of 'channel_add', "
                "'channel_mul' or both"
            )
        self.conv_mask = nn.Conv2d(in_channels, 1, 1) if pooling_type == 'att' else None
        if in_channels * ratio < 1 and ratio != DEFAULT_RATIO:
            raise ValueError(
                f'GlobalContext: ratio={ratio!r}; for in_channels={in_channels} it must be at least '
                f'1/{in_channels}, or no channel is left between the layers'
            )
        hidden = max(int(in_channels * ratio), 1)
        self.channel_add_conv = _transform(in_channels, hidden) if 'channel_add' in fusion_types else None
        self.channel_mul_conv = _transform(in_channels, hidden) if 'channel_mul' in fusion_types else None
        self.reset_start()

    @property
    def paper_is_identity(self) -> bool:
        return self.channel_mul_conv is None

    def context(self, x: Tensor) -> Tensor:
        """Return the context vector, at least in fp32: ``(N, C, H, W) -> (N, C, 1, 1)``."""
        if self.conv_mask is None:
            return ops.spatial_avg(x)
        x = x.to(self.conv_mask.weight.dtype)
        weight = torch.softmax(self.conv_mask(x).flatten(2), -1)  # (N, 1, H * W)
        return (x.flatten(2) @ weight.transpose(1, 2)).unsqueeze(-1)

    def forward(self, x: Tensor) -> Tensor:
        with ops.full_precision(x):
            context = self.context(x)
            if self.channel_mul_conv is not None:
                context = context.to(self.channel_mul_conv[0].weight.dtype)
                x = ops.apply_gate(x, ops.sigmoid_gate(self.channel_mul_conv(context), self.ceiling))
            if self.channel_add_conv is not None:
                context = context.to(self.channel_add_conv[0].weight.dtype)
                x = x + self.channel_add_conv(context).to(x.dtype)
        return x

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        axes = {} if self.conv_mask is None else {'conv_mask.weight': (1,)}
        for name in ('channel_add_conv', 'channel_mul_conv'):
            if getattr(self, name) is not None:
                axes |= {f'{name}.0.weight': (1,), f'{name}.3.weight': (0,), f'{name}.3.bias': (0,)}
        return axes

    def reset_parameters(self) -> None:
        for layer in self.modules():
            if layer is not self and hasattr(layer, 'reset_parameters'):
                layer.reset_parameters()
        if self.conv_mask is not None:
            kaiming_init(self.conv_mask, mode='fan_in')
        for layer in self.last_layers():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def last_layers(self) -> list[nn.Module]:
        return [convs[-1] for convs in (self.channel_add_conv, self.channel_mul_conv) if convs is not None]
