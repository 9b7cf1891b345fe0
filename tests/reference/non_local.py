"""NonLocal, Wang et al., CVPR 2018: adds a weighted mean of all positions to each position."""

import torch


def _linear(t, p, name):
    return t @ p[f'{name}.conv.weight'].flatten(1).T + p[f'{name}.conv.bias']


def _pooled(t, h, w):
    """Maximum of each 2x2 square: ``(H * W, C) -> (H // 2 * W // 2, C)``."""
    grid = t.reshape(h, w, -1)
    return torch.stack(
        [
            grid[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten(0, 1).max(0)[0]
            for i in range(h // 2)
            for j in range(w // 2)
        ]
    )


def non_local(x, p, mode='embedded_gaussian', use_scale=True, sub_sample=False):
    out = []
    n, c, h, w = x.shape
    end = '.0' if sub_sample else ''
    for t in x:
        flat = t.flatten(1).T  # (H * W, C)
        g = _linear(flat, p, f'g{end}')
        theta = flat if mode == 'gaussian' else _linear(flat, p, 'theta')
        phi = flat if mode == 'gaussian' else _linear(flat, p, f'phi{end}')
        if sub_sample:
            g, phi = _pooled(g, h, w), _pooled(phi, h, w)
        rows = []
        for one in theta:
            if mode == 'concatenation':
                both = torch.cat([one.expand_as(phi), phi], 1)
                z = both @ p['concat_project.conv.weight'].flatten()
                weight = torch.where(z > 0, z, torch.zeros_like(z)) / len(phi)
            else:
                z = phi @ one
                if mode == 'dot_product':
                    weight = z / len(phi)
                else:
                    z = z / one.numel() ** 0.5 if mode == 'embedded_gaussian' and use_scale else z
                    e = torch.exp(z - z.max().detach())
                    weight = e / e.sum()
            rows.append(weight @ g)
        out.append(t + _linear(torch.stack(rows), p, 'conv_out').T.reshape(c, h, w))
    return torch.stack(out)
