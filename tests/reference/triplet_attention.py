"""TripletAttention, Misra et al., WACV 2021; the gates are CBAM's, as in the official code."""

import torch

from tests.reference.cbam import pool_conv_norm


def triplet_attention(x, p, training=False):
    total, branches = 0, 0
    for name, order in (('cw', (0, 2, 1, 3)), ('hc', (0, 3, 2, 1)), ('hw', (0, 1, 2, 3))):
        if f'{name}.conv.conv.weight' in p:
            turned = x.permute(order)
            z = pool_conv_norm(turned, p, f'{name}.conv.', training)
            total = total + (turned / (1 + torch.exp(-z))).permute(order)
            branches += 1
    return total / branches
