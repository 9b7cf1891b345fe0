"""Attention along the frames of a video clip."""

from __future__ import annotations

from torch import Tensor, nn

from mmattn import ops
from mmattn.blocks._checks import check_bool, check_positive_int, hidden_width
from mmattn.blocks.base import AttentionBlock
from mmattn.registry import MODELS


@MODELS.register_module()
class TemporalAttention(AttentionBlock):
    """Temporal attention: a gate per frame of a clip, or per frame and channel, from neighbouring frames too.

    ``x * (1 + sigmoid(W2 relu(conv(W1 avg(x)))))``, where ``conv`` runs along the frames of a clip: the
    channel excitation of ACTION-Net. The batch holds whole clips one after the other, ``(B * T, C, H, W)``.

    Paper: `Wang et al., CVPR 2021 <https://arxiv.org/abs/2103.07372>`_.

    Official code: V-Sense/ACTION-Net, ``models/action.py``. With ``per_channel=True`` parameters have the
    same names and shapes: ``action_p2_squeeze``, ``action_p2_conv1``, ``action_p2_expand``.

    Differences: by default all channels of a frame share one gate; ``per_channel=True`` gives the paper's.
    The paper also shifts some channels by one frame first and has two more excitations beside this one;
    they are left out. The number of frames need not be fixed. The hidden width is at least 1.
    ``start='identity'`` is new: the gate becomes ``2 * sigmoid(z)``, because ``1 + sigmoid(z)`` is never 1.

    Args:
        in_channels: Number of channels of the map.
        num_frames: Number of frames ``T`` of a clip. ``None``: the video detector that contains this block
            sets it for each batch. Other models need a number.
        per_channel: If True, each channel of a frame has a gate of its own.
        reduction: Factor by which the hidden width is smaller than ``in_channels``.
        kernel_size: Odd kernel size of the convolution along the frames; 3 in the paper.
        start: See :class:`~mmattn.blocks.base.AttentionBlock`.

    Shape:
        - Input and output: ``(B * T, C, H, W)``.
        - Gate ``'frame'``: ``(B * T, 1, 1, 1)``, or with ``per_channel=True`` gate ``'channel'``:
          ``(B * T, C, 1, 1)``; in (1, 2) with ``start='paper'``.

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
    clips_option = 'num_frames'

    def __init__(
        self,
        in_channels: int,
        num_frames: int | None = None,
        per_channel: bool = False,
        reduction: int = 16,
        kernel_size: int = 3,
        start: str = 'paper',
        init_cfg: dict | None = None,
    ):
        super().__init__(in_channels, start, init_cfg)
        if num_frames is not None:
            check_positive_int(self, 'num_frames', num_frames)
        check_bool(self, 'per_channel', per_channel)
        check_positive_int(self, 'kernel_size', kernel_size, odd=True)
        self.num_frames = num_frames
        self.per_channel = per_channel
        self.clips: tuple[int, int] | None = None
        """Number of clips and of frames per clip in the current batch. The detector sets it."""
        hidden = hidden_width(self, 'reduction', reduction)
        self.action_p2_squeeze = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.action_p2_conv1 = nn.Conv1d(hidden, hidden, kernel_size, padding=kernel_size // 2, bias=False)
        self.action_p2_expand = nn.Conv2d(hidden, in_channels if per_channel else 1, 1, bias=False)
        self.reset_start()

    @property
    def wants_clips(self) -> bool:
        """True if the number of frames is that of the current batch."""
        return self.num_frames is None

    def set_clips(self, clips: tuple[int, int] | None) -> None:
        """Set the number of clips and of frames per clip in the current batch; ``None`` forgets them."""
        self.clips = clips

    def _frames(self, x: Tensor) -> int:
        """Return the number of frames per clip in ``x``."""
        size = ops.static_size(x, 0)
        if self.num_frames is not None and self.clips is None:
            if size % self.num_frames:
                raise ValueError(
                    f'TemporalAttention: a batch of {size} images does not consist of whole clips of '
                    f'num_frames={self.num_frames}'
                )
            return self.num_frames
        if self.clips is None:
            raise ValueError(
                'TemporalAttention: num_frames=None takes the number of frames from the batches of the video '
                'detector that contains the block, but no video detector contains it: give num_frames=...'
            )
        clips, frames = self.clips
        if size != clips * frames:
            raise ValueError(
                f'TemporalAttention: the batch holds {clips} x {frames} frames (clips x frames), but the map '
                f'has batch size {size}: this detector does not run the frames of a clip together. To '
                'group the images anyway, give num_frames=...'
            )
        return frames

    @property
    def floor(self) -> float:
        return 0.0 if self.start == 'identity' else 1.0

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        frames = self._frames(x)
        with ops.full_precision(x):
            pooled = ops.spatial_avg(x).to(self.action_p2_squeeze.weight.dtype)
            clips = x.shape[0] // frames, frames
            z = ops.unflatten(self.action_p2_squeeze(pooled).flatten(1), 0, clips)
            z = self.action_p2_conv1(z.transpose(1, 2)).relu().transpose(1, 2)  # (B, T, C')
            z = self.action_p2_expand(z.flatten(0, 1)[..., None, None])
            gate = ops.sigmoid_gate(z, 2.0) if self.start == 'identity' else 1 + ops.sigmoid_gate(z)
        return {'channel' if self.per_channel else 'frame': gate}

    def channel_axes(self) -> dict[str, tuple[int, ...]]:
        last = {'action_p2_expand.weight': (0,)} if self.per_channel else {}
        return {'action_p2_squeeze.weight': (1,), **last}

    def reset_parameters(self) -> None:
        for layer in (self.action_p2_squeeze, self.action_p2_conv1, self.action_p2_expand):
            layer.reset_parameters()

    def last_layers(self) -> list[nn.Module]:
        return [self.action_p2_expand]
