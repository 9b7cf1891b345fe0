"""BAM, Park et al., BMVC 2018: the official code's form, and the paper's with the code's ReLUs."""

import torch


def _norm(z, p, name, training):
    """Normalise over all axes except the last, the channels."""
    if training:
        flat = z.flatten(0, -2)
        mean = flat.sum(0) / len(flat)
        var = ((flat - mean) ** 2).sum(0) / len(flat)
    else:
        mean, var = p[f'{name}.running_mean'], p[f'{name}.running_var']
    return (z - mean) / torch.sqrt(var + 1e-5) * p[f'{name}.weight'] + p[f'{name}.bias']


def _relu(z):
    return torch.where(z > 0, z, torch.zeros_like(z))


def _dilated(z, weight, bias, d):
    """A 3x3 convolution of ``(N, H, W, C)`` with dilation ``d`` and zero padding."""
    n, h, w, _ = z.shape
    out = bias.expand(n, h, w, len(bias)).clone()
    for i in range(h):
        for j in range(w):
            for a in (-1, 0, 1):
                for b in (-1, 0, 1):
                    y, x = i + a * d, j + b * d
                    if 0 <= y < h and 0 <= x < w:
                        out[:, i, j] = out[:, i, j] + z[:, y, x] @ weight[:, :, a + 1, b + 1].T
    return out


def bam(x, p, form='code', dilation=4, training=False):
    c, s = 'channel_att.gate_c.gate_c_', 'spatial_att.gate_s.gate_s_'

    def hidden(z, norm):
        return _relu(_norm(z, p, norm, training) if form == 'code' else z)

    def last(z, norm):
        return z if form == 'code' else _norm(z, p, norm, training)

    means = torch.stack([torch.stack([channel.sum() / channel.numel() for channel in t]) for t in x])
    channel = hidden(means @ p[f'{c}fc_0.weight'].T + p[f'{c}fc_0.bias'], f'{c}bn_1')
    channel = last(channel @ p[f'{c}fc_final.weight'].T + p[f'{c}fc_final.bias'], f'{c}bn_final')
    z = x.permute(0, 2, 3, 1) @ p[f'{s}conv_reduce0.weight'].flatten(1).T + p[f'{s}conv_reduce0.bias']
    z = hidden(z, f'{s}bn_reduce0')
    for i in range(2):
        z = _dilated(z, p[f'{s}conv_di_{i}.weight'], p[f'{s}conv_di_{i}.bias'], dilation)
        z = hidden(z, f'{s}bn_di_{i}')
    spatial = z @ p[f'{s}conv_final.weight'].flatten(1).T + p[f'{s}conv_final.bias']
    spatial = last(spatial, f'{s}bn_final')
    channel = channel[:, None, None]
    z = channel * spatial if form == 'code' else channel + spatial
    return x * (1 + 1 / (1 + torch.exp(-z))).permute(0, 3, 1, 2)
