"""GCT, Yang et al., CVPR 2020, and the official code's l1 form."""

import torch


def gct(x, p, mode='l2', epsilon=1e-5):
    alpha, gamma, beta = (p[name].flatten() for name in ('alpha', 'gamma', 'beta'))
    out = torch.empty_like(x)
    for n in range(x.shape[0]):
        if mode == 'l2':
            s = torch.stack([a * torch.sqrt((c**2).sum() + epsilon) for a, c in zip(alpha, x[n])])
            normed = s / torch.sqrt((s**2).sum() / len(s) + epsilon)
        else:
            s = torch.stack([a * c.abs().sum() for a, c in zip(alpha, x[n])])
            normed = s / (s.abs().sum() / len(s) + epsilon)
        e = torch.exp(-2 * (gamma * normed + beta))
        out[n] = x[n] * (1 + (1 - e) / (1 + e))[:, None, None]
    return out
