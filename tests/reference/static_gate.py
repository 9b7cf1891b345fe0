"""A gate per channel that does not see the map: 2 / (1 + exp(-z))."""

import torch


def static_gate(x, p):
    z = p['z'].flatten()
    return torch.stack([x[:, c] * 2 / (1 + torch.exp(-z[c])) for c in range(x.shape[1])], 1)
