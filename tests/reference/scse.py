"""SCSE, Roy et al., MICCAI 2018, and the official code's maximum."""

import torch


def scse(x, p, combine='max'):
    out = torch.empty_like(x)
    for n in range(x.shape[0]):
        means = torch.stack([channel.sum() / channel.numel() for channel in x[n]])
        hidden = p['cSE.fc1.weight'] @ means + p['cSE.fc1.bias']
        hidden = torch.where(hidden > 0, hidden, torch.zeros_like(hidden))
        channel = 1 / (1 + torch.exp(-(p['cSE.fc2.weight'] @ hidden + p['cSE.fc2.bias'])))
        z = sum(w * c for w, c in zip(p['sSE.conv.weight'].flatten(), x[n])) + p['sSE.conv.bias']
        spatial = 1 / (1 + torch.exp(-z))
        one, two = x[n] * channel[:, None, None], x[n] * spatial
        out[n] = one + two if combine == 'add' else torch.where(one > two, one, two)
    return out
