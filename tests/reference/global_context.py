"""GlobalContext, Cao et al., ICCVW 2019: one context vector, added to every position."""

import torch


def _transform(c, p, name):
    hidden = c @ p[f'{name}.0.weight'].flatten(1).T + p[f'{name}.0.bias']
    mean = hidden.mean(1, keepdim=True)
    var = ((hidden - mean) ** 2).mean(1, keepdim=True)
    weight, bias = p[f'{name}.1.weight'].flatten(), p[f'{name}.1.bias'].flatten()
    hidden = (hidden - mean) / torch.sqrt(var + 1e-5) * weight + bias
    hidden = torch.where(hidden > 0, hidden, torch.zeros_like(hidden))
    return hidden @ p[f'{name}.3.weight'].flatten(1).T + p[f'{name}.3.bias']


def global_context(x, p, pooling='att', fusions=('channel_add',)):
    contexts = []
    for t in x:
        flat = t.flatten(1)
        if pooling == 'att':
            z = p['conv_mask.weight'].flatten() @ flat + p['conv_mask.bias']
            weight = torch.exp(z - z.max().detach())
            contexts.append(flat @ (weight / weight.sum()))
        else:
            contexts.append(flat.sum(1) / flat.shape[1])
    c = torch.stack(contexts)
    out = x
    if 'channel_mul' in fusions:
        out = out * (1 / (1 + torch.exp(-_transform(c, p, 'channel_mul_conv'))))[..., None, None]
    if 'channel_add' in fusions:
        out = out + _transform(c, p, 'channel_add_conv')[..., None, None]
    return out
