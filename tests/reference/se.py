"""SE, Hu et al., CVPR 2018, equations 2 to 4."""

import torch


def se(x, p):
    out = torch.empty_like(x)
    for n in range(x.shape[0]):
        squeezed = torch.stack([channel.sum() / channel.numel() for channel in x[n]])
        hidden = p['fc1.weight'].flatten(1) @ squeezed
        if 'fc1.bias' in p:
            hidden = hidden + p['fc1.bias']
        hidden = torch.where(hidden > 0, hidden, torch.zeros_like(hidden))
        z = p['fc2.weight'].flatten(1) @ hidden
        if 'fc2.bias' in p:
            z = z + p['fc2.bias']
        gate = 1 / (1 + torch.exp(-z))
        out[n] = x[n] * gate[:, None, None]
    return out
