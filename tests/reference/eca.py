"""ECA, Wang et al., CVPR 2020, equation 9, with the official code's zero padding."""

import torch


def eca(x, p):
    weight = p['conv.weight'][0, 0]
    half = len(weight) // 2
    out = torch.empty_like(x)
    for n in range(x.shape[0]):
        means = [channel.sum() / channel.numel() for channel in x[n]]
        for c in range(len(means)):
            z = x.new_zeros(())
            for j, w in enumerate(weight):
                if 0 <= c + j - half < len(means):
                    z = z + w * means[c + j - half]
            out[n, c] = x[n, c] / (1 + torch.exp(-z))
    return out
