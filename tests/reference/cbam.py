"""Woo et al., ECCV 2018, equations 1 to 3, with the biases and the norm of the official code."""
import torch


def _channel_gate(x, p):
    w1, b1 = p['ChannelGate.mlp.1.weight'], p['ChannelGate.mlp.1.bias']
    w2, b2 = p['ChannelGate.mlp.3.weight'], p['ChannelGate.mlp.3.bias']

    def mlp(v):
        hidden = w1 @ v + b1
        return w2 @ torch.where(hidden > 0, hidden, torch.zeros_like(hidden)) + b2

    gates = []
    for picture in x:
        avg = torch.stack([channel.sum() / channel.numel() for channel in picture])
        top = torch.stack([channel.flatten()[channel.argmax()] for channel in picture])
        gates.append(1 / (1 + torch.exp(-(mlp(avg) + mlp(top)))))
    return torch.stack(gates)[:, :, None, None]


def _spatial_gate(x, p, training):
    n, c, h, w = x.shape
    weight = p['SpatialGate.spatial.conv.weight'][0]
    half = weight.shape[-1] // 2
    top = torch.gather(x, 1, x.argmax(1, keepdim=True))
    padded = x.new_zeros(n, 2, h + 2 * half, w + 2 * half)
    padded[:, :, half:half + h, half:half + w] = torch.cat([top, x.sum(1, keepdim=True) / c], 1)
    rows = []
    for i in range(h):
        rows.append(torch.stack([
            (padded[:, :, i:i + 2 * half + 1, j:j + 2 * half + 1] * weight).sum((1, 2, 3))
            for j in range(w)], -1))
    z = torch.stack(rows, -2)[:, None]
    if training:
        mean, var = z.mean(), ((z - z.mean())**2).mean()
    else:
        mean = p['SpatialGate.spatial.bn.running_mean']
        var = p['SpatialGate.spatial.bn.running_var']
    z = (z - mean) / torch.sqrt(var + 1e-5)
    z = z * p['SpatialGate.spatial.bn.weight'] + p['SpatialGate.spatial.bn.bias']
    return 1 / (1 + torch.exp(-z))


def cbam(x, p, training=False):
    x = x * _channel_gate(x, p)
    return x * _spatial_gate(x, p, training)
