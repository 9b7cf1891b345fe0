"""TemporalAttention, the channel excitation of Wang et al., CVPR 2021 (ACTION-Net), without its shift."""

import torch


def temporal_attention(x, p, frames):
    """The map ``(B * T, C, H, W)`` times its gates, one clip of ``frames`` after the other."""
    gates = []
    squeeze, conv, expand = (p[f'action_p2_{name}.weight'] for name in ('squeeze', 'conv1', 'expand'))
    for clip in x.split(frames):
        hidden = [squeeze.flatten(1) @ frame.mean((1, 2)) for frame in clip]
        for t in range(len(clip)):
            z = torch.zeros(len(conv), dtype=x.dtype)
            for k in range(conv.shape[2]):
                other = t + k - conv.shape[2] // 2
                if 0 <= other < len(clip):
                    z = z + conv[:, :, k] @ hidden[other]
            z = expand.flatten(1) @ torch.where(z > 0, z, torch.zeros_like(z))
            gates.append(1 + 1 / (1 + torch.exp(-z)))
    return x * torch.stack(gates)[..., None, None]
