"""ESE, Lee and Park, CVPR 2020, with the official code's hard sigmoid."""

import torch


def ese(x, p):
    out = torch.empty_like(x)
    for n in range(x.shape[0]):
        means = torch.stack([channel.sum() / channel.numel() for channel in x[n]])
        z = p['fc.weight'].flatten(1) @ means + p['fc.bias']
        for c in range(x.shape[1]):
            gate = 0.0 if z[c] <= -3 else 1.0 if z[c] >= 3 else (z[c] + 3) / 6
            out[n, c] = x[n, c] * gate
    return out
