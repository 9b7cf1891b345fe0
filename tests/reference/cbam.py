"""CBAM, Woo et al., ECCV 2018, equations 1 to 3, with the official code's biases and norm."""

import torch


def channel_gate(x, p, prefix='', pools=('avg', 'max')):
    w1, b1 = p[f'{prefix}mlp.1.weight'], p[f'{prefix}mlp.1.bias']
    w2, b2 = p[f'{prefix}mlp.3.weight'], p[f'{prefix}mlp.3.bias']

    def mlp(v):
        hidden = w1 @ v + b1
        return w2 @ torch.where(hidden > 0, hidden, torch.zeros_like(hidden)) + b2

    gates = []
    for image in x:
        avg = torch.stack([channel.sum() / channel.numel() for channel in image])
        amax = torch.stack([channel.flatten()[channel.argmax()] for channel in image])
        z = [mlp(avg)] * ('avg' in pools) + [mlp(amax)] * ('max' in pools)
        gates.append(1 / (1 + torch.exp(-sum(z))))
    return torch.stack(gates)[:, :, None, None]


def pool_conv_norm(x, p, prefix, training):
    """The argument of a spatial gate's sigmoid: ``(N, C, H, W) -> (N, 1, H, W)``."""
    n, c, h, w = x.shape
    weight = p[f'{prefix}conv.weight'][0]
    half = weight.shape[-1] // 2
    if 'reduce.weight' in p:
        descriptor = (x * p['reduce.weight']).sum(1, keepdim=True)
    else:
        amax = torch.gather(x, 1, x.argmax(1, keepdim=True))
        descriptor = torch.cat([amax, x.sum(1, keepdim=True) / c], 1)
    padded = x.new_zeros(n, descriptor.shape[1], h + 2 * half, w + 2 * half)
    padded[:, :, half : half + h, half : half + w] = descriptor
    rows = []
    for i in range(h):
        rows.append(
            torch.stack(
                [
                    (padded[:, :, i : i + 2 * half + 1, j : j + 2 * half + 1] * weight).sum((1, 2, 3))
                    for j in range(w)
                ],
                -1,
            )
        )
    z = torch.stack(rows, -2)[:, None]
    if training:
        mean, var = z.mean(), ((z - z.mean()) ** 2).mean()
    else:
        mean, var = p[f'{prefix}bn.running_mean'], p[f'{prefix}bn.running_var']
    return (z - mean) / torch.sqrt(var + 1e-5) * p[f'{prefix}bn.weight'] + p[f'{prefix}bn.bias']


def spatial_gate(x, p, training, prefix=''):
    return 1 / (1 + torch.exp(-pool_conv_norm(x, p, f'{prefix}spatial.', training)))


def channel_attention(x, p, pools=('avg', 'max')):
    return x * channel_gate(x, p, pools=pools)


def spatial_attention(x, p, training=False):
    return x * spatial_gate(x, p, training)


def cbam(x, p, training=False):
    x = x * channel_gate(x, p, 'ChannelGate.')
    return x * spatial_gate(x, p, training, 'SpatialGate.')
