"""SGE, Li et al., 2019, with the official code's unbiased standard deviation."""

import torch


def sge(x, p):
    weight, bias = p['weight'].flatten(), p['bias'].flatten()
    out = torch.empty_like(x)
    per_group = x.shape[1] // len(weight)
    for n in range(x.shape[0]):
        for g in range(len(weight)):
            chosen = slice(g * per_group, (g + 1) * per_group)
            group = x[n, chosen]
            c = sum(channel * (channel.sum() / channel.numel()) for channel in group)
            mean = c.sum() / c.numel()
            std = torch.sqrt(((c - mean) ** 2).sum() / (c.numel() - 1))
            z = weight[g] * (c - mean) / (std + 1e-5) + bias[g]
            out[n, chosen] = group / (1 + torch.exp(-z))
    return out
