"""Non-local block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn import _compat, ops
from mmattn.blocks._checks import check_bool, check_choice, check_positive_int
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS

MODES = ('embedded_gaussian', 'gaussian', 'dot_product', 'concatenation')


@MODELS.register_module()
class NonLocal(AttentionBlock):
    """Non-local block: adds a weighted mean of all positions to each position.

    ``x + W_z(softmax(theta(x) phi(x)) g(x))`` in the default mode.

    Paper: `Wang et al., CVPR 2018 <https://arxiv.org/abs/1711.07971>`_.

    Official code: facebookresearch/video-nonlocal-net, ``lib/models/nonlocal_helper.py`` (Caffe2). The
    layers are those of MMCV's ``NonLocal2d``, with its names (``theta.conv.weight``, ...) and initial
    values, so its weights load. The last layer, or its norm, starts at zero, so ``start='paper'`` adds
    nothing either.

    The weights take ``(H * W)**2`` numbers per image: 1.1 GB in fp32 for a 100x168 map, a quarter of that
    with ``sub_sample``. Use it on small maps.

    Differences from MMCV: everything is computed in fp32 under autocast, where fp16 can overflow. A
    parent's ``init_cfg`` does not reach the block. ``'concatenation'`` can be trained; MMCV divides in
    place there and so overwrites what the backward pass needs.

    Args:
        in_channels: Number of channels of the map.
        reduction: Factor by which the hidden width is smaller than ``in_channels``; at least 1, as in MMCV.
        use_scale: If True, ``'embedded_gaussian'`` divides the products by the root of the hidden width.
        norm_cfg: Config of a norm after the last layer, or ``None``.
        mode: ``'embedded_gaussian'``, ``'gaussian'``, ``'dot_product'`` or ``'concatenation'``.
        sub_sample: If True, the means are taken over a map of half the height and width. The map must then
            be at least 2x2.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(N, C, H, W)``.

    Example:
        >>> import torch
        >>> from mmattn.blocks import NonLocal
        >>> x = torch.rand(2, 64, 7, 5)
        >>> NonLocal(64)(x).equal(x)
        True
    """

    _abbr_ = 'non_local'
    role = 'additive'
    paper_is_identity = True

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        use_scale: bool = True,
        norm_cfg: dict | None = None,
        mode: str = 'embedded_gaussian',
        sub_sample: bool = False,
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        check_positive_int(self, 'reduction', reduction)
        check_bool(self, 'use_scale', use_scale)
        check_choice(self, 'mode', mode, MODES)
        check_bool(self, 'sub_sample', sub_sample)
        _compat.require('mmcv', 'mmattn.NonLocal')
        from mmcv.cnn.bricks.non_local import NonLocal2d

        self.mode = mode
        self.use_scale = use_scale
        self._layers_from = NonLocal2d
        self._options = dict(
            in_channels=in_channels,
            reduction=reduction,
            use_scale=use_scale,
            norm_cfg=norm_cfg,
            mode=mode,
            sub_sample=sub_sample,
        )
        for name, layer in NonLocal2d(**self._options).named_children():  # g, theta, phi, conv_out, ...
            self.add_module(name, layer)
        self.reset_start()

    def forward(self, x: Tensor) -> Tensor:
        with ops.full_precision(x):
            return x + self._added(x.to(self.conv_out.conv.weight.dtype)).to(x.dtype)

    def _added(self, x: Tensor) -> Tensor:
        g = self.g(x).flatten(2).transpose(1, 2)  # (N, positions, C')
        if self.mode == 'gaussian':
            theta, phi = x, self.phi(x) if hasattr(self, 'phi') else x
        else:
            theta, phi = self.theta(x), self.phi(x)
        weight = self._weight(theta.flatten(2), phi.flatten(2))  # (N, H * W, positions)
        return self.conv_out(ops.unflatten((weight @ g).transpose(1, 2), 2, x.shape[2:]))

    def _weight(self, theta: Tensor, phi: Tensor) -> Tensor:
        """``(N, C', H * W), (N, C', positions) -> (N, H * W, positions)``."""
        positions = phi.shape[2]
        if self.mode == 'concatenation':
            pairs = torch.cat(
                [
                    theta.unsqueeze(3).expand(-1, -1, -1, positions),
                    phi.unsqueeze(2).expand(-1, -1, theta.shape[2], -1),
                ],
                1,
            )
            return self.concat_project(pairs).squeeze(1) / positions
        products = theta.transpose(1, 2) @ phi
        if self.mode == 'dot_product':
            return products / positions
        scaled = self.mode == 'embedded_gaussian' and self.use_scale
        return torch.softmax(products * theta.shape[1] ** -0.5 if scaled else products, -1)

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        raise ValueError("NonLocal takes the widths of its layers from MMCV, by its map's channels")

    def reset_parameters(self) -> None:
        self.load_state_dict(self._layers_from(**self._options).state_dict())

    def last_layers(self) -> list[nn.Module]:
        return [self.conv_out.conv if self.conv_out.norm_cfg is None else self.conv_out.norm]
