"""Compute SE, ECA and CBAM as their official PyTorch code does, with the parameters of our blocks.

Written from the formulas, with the same calls as in those repositories: adaptive or windowed pooling,
``expand_as``, ``max(1)[0]``. The tables call these "official"; they run in PyTorch's eager mode.
"""

import torch
import torch.nn.functional as F


def se(block, x):
    pooled = F.adaptive_avg_pool2d(x, 1)
    gate = torch.sigmoid(block.fc2(F.relu(block.fc1(pooled))))
    return x * gate.expand_as(x)


def eca(block, x):
    pooled = F.adaptive_avg_pool2d(x, 1)
    z = block.conv(pooled.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
    return x * torch.sigmoid(z).expand_as(x)


def channel_gate(block, x):
    size = x.shape[2:]
    z = block.mlp(F.avg_pool2d(x, size, stride=size)) + block.mlp(F.max_pool2d(x, size, stride=size))
    return x * torch.sigmoid(z).unsqueeze(2).unsqueeze(3).expand_as(x)


def spatial_gate(block, x):
    seen = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
    return x * torch.sigmoid(block.spatial(seen))


def cbam(block, x):
    return spatial_gate(block.SpatialGate, channel_gate(block.ChannelGate, x))


FORMULAS = dict(SE=se, ECA=eca, CBAM=cbam, ChannelAttention=channel_gate, SpatialAttention=spatial_gate)
