"""Attention along the frames of a clip."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks.base import AttentionBlock, check_positive_int
from mmattn.registry import MODELS


@MODELS.register_module()
class TemporalAttention(AttentionBlock):
    """Temporal attention: a gate per frame of a clip, or per frame and channel, from its neighbours too.

    Clips lie in the batch, ``(B * T, C, H, W)``: all frames of the first one, then those of the second.
    ``x * (1 + sigmoid(W2 relu(conv(W1 avg(x)))))``, where ``conv`` runs over the frames of a clip with a
    kernel of 3. It is the channel excitation of ACTION-Net, `Wang et al., CVPR 2021
    <https://arxiv.org/abs/2103.07372>`_. Official code: V-Sense/ACTION-Net; with ``per_channel=True``
    parameters are named and shaped as there, ``action_p2_squeeze``, ``action_p2_conv1``,
    ``action_p2_expand``.

    Differences: one gate for all channels of a frame, unless ``per_channel=True``, is ours; the paper shifts
    some channels by a frame before, and has two more excitations beside this one; there the number of
    frames is fixed, here a clip may have any; a hidden width of at least 1. ``start='identity'`` is ours: the
    gate is ``2 * sigmoid(z)``, as ``1 + sigmoid(z)`` is never 1.

    Args:
        in_channels: Channels of the map.
        num_frames: ``T``; or ``None``: it is taken from each batch of the video detector that this block
            has been inserted into, its inputs and data samples. Any other model needs a number.
        per_channel: A gate for each channel of each frame.
        reduction: Of the channels within the block.
        kernel_size: How many frames the convolution sees, odd.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(B * T, C, H, W)``; gate ``'frame'``: ``(B * T, 1, 1, 1)``, or ``'channel'``:
          ``(B * T, C, 1, 1)``, in (1, 2) as published.

    Example:
        >>> import torch
        >>> from mmattn.blocks import TemporalAttention
        >>> x = torch.rand(6, 64, 7, 5)  # two clips of three frames
        >>> TemporalAttention(64, num_frames=3, start='identity')(x).equal(x)
        True
        >>> TemporalAttention(64, num_frames=3).gates(x)['frame'].shape
        torch.Size([6, 1, 1, 1])
    """

    _abbr_ = 'temporal_attention'
    ceiling = 2.0

    def __init__(
        self,
        in_channels: int,
        num_frames: int | None = None,
        per_channel: bool = False,
        reduction: int = 16,
        kernel_size: int = 3,
        start: str = 'paper',
        init_cfg=None,
    ):
        super().__init__(in_channels, start, init_cfg)
        if num_frames is not None:
            check_positive_int(self, 'num_frames', num_frames)
        check_positive_int(self, 'reduction', reduction)
        check_positive_int(self, 'kernel_size', kernel_size, odd=True)
        self.num_frames = num_frames
        self.per_channel = per_channel
        self.clips: tuple[int, int] | None = None
        """Clips and frames of the batch that is being computed, as the model tells where ``num_frames`` is
        ``None``."""
        hidden = max(in_channels // reduction, 1)
        self.action_p2_squeeze = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.action_p2_conv1 = nn.Conv1d(hidden, hidden, kernel_size, padding=kernel_size // 2, bias=False)
        self.action_p2_expand = nn.Conv2d(hidden, in_channels if per_channel else 1, 1, bias=False)
        self.reset_start()

    def _frames(self, x: Tensor) -> int:
        if self.num_frames is not None:
            if x.shape[0] % self.num_frames:
                raise ValueError(
                    f'TemporalAttention: a batch of {x.shape[0]} pictures is no number of clips '
                    f'of num_frames={self.num_frames}'
                )
            return self.num_frames
        if self.clips is None:
            raise ValueError(
                'TemporalAttention: num_frames=None takes the number of frames from the batches '
                'of a video detector that it was inserted into, and there is none: write '
                'num_frames=...'
            )
        clips, frames = self.clips
        if x.shape[0] != clips * frames:
            raise ValueError(
                f'TemporalAttention: there are {clips} clips of {frames} frames, and '
                f'{x.shape[0]} pictures here: this detector does not run the frames of a clip '
                'together. Write num_frames=... if that is meant'
            )
        return frames

    @property
    def floor(self) -> float:
        return 0.0 if self.start == 'identity' else 1.0

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        frames = self._frames(x)
        with ops.full_precision(x):
            pooled = ops.spatial_avg(x).to(self.action_p2_squeeze.weight.dtype)
            z = self.action_p2_squeeze(pooled).flatten(1).unflatten(0, (x.shape[0] // frames, frames))
            z = self.action_p2_conv1(z.transpose(1, 2)).relu().transpose(1, 2)  # (B, T, C')
            z = self.action_p2_expand(z.flatten(0, 1)[..., None, None])
            gate = ops.sigmoid_gate(z, 2.0) if self.start == 'identity' else 1 + ops.sigmoid_gate(z)
        return {'channel' if self.per_channel else 'frame': gate}

    def reset_parameters(self) -> None:
        for layer in (self.action_p2_squeeze, self.action_p2_conv1, self.action_p2_expand):
            layer.reset_parameters()

    def last_layers(self):
        return [self.action_p2_expand]
