"""SKConv, Li et al., CVPR 2019: convolution branches, and a softmax over them for each channel."""

import torch


def _conv(x, weight, stride, padding, dilation, groups):
    n, c, h, w = x.shape
    o, per, k, _ = weight.shape
    padded = torch.zeros(n, c, h + 2 * padding, w + 2 * padding, dtype=x.dtype)
    padded[:, :, padding : padding + h, padding : padding + w] = x
    rows = (h + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    columns = (w + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    out = [[None] * columns for _ in range(rows)]
    for i in range(rows):
        for j in range(columns):
            patch = padded[
                :,
                :,
                i * stride : i * stride + dilation * (k - 1) + 1 : dilation,
                j * stride : j * stride + dilation * (k - 1) + 1 : dilation,
            ]
            values = []
            for channel in range(o):
                first = channel // (o // groups) * per
                values.append((patch[:, first : first + per] * weight[channel]).sum((1, 2, 3)))
            out[i][j] = torch.stack(values, 1)
    return torch.stack([torch.stack(row, -1) for row in out], -2)


def _norm_relu(z, p, name, training):
    if training:
        mean = z.mean((0, 2, 3))
        var = ((z - mean[:, None, None]) ** 2).mean((0, 2, 3))
    else:
        mean, var = p[f'{name}.running_mean'], p[f'{name}.running_var']
    z = (z - mean[:, None, None]) / torch.sqrt(var + 1e-5)[:, None, None]
    z = z * p[f'{name}.weight'][:, None, None] + p[f'{name}.bias'][:, None, None]
    return torch.where(z > 0, z, torch.zeros_like(z))


def sk_conv(x, p, shapes, stride=1, groups=1, training=False):
    """The output of an SKConv whose branches have these pairs ``shapes`` of padding and dilation."""
    u = []
    for i, (padding, dilation) in enumerate(shapes):
        z = _conv(x, p[f'paths.{i}.conv.weight'], stride, padding, dilation, groups)
        u.append(_norm_relu(z, p, f'paths.{i}.bn', training))
    s = sum(u).mean((2, 3))
    z = s @ p['attn.fc_reduce.weight'].flatten(1).T
    z = _norm_relu(z[..., None, None], p, 'attn.bn', training)[..., 0, 0]
    z = (z @ p['attn.fc_select.weight'].flatten(1).T).reshape(len(x), len(u), -1)
    e = torch.exp(z)
    a = e / e.sum(1, keepdim=True)
    return sum(a[:, i, :, None, None] * each for i, each in enumerate(u))
