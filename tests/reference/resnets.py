"""ResNets with attention as the official repositories name their weights, with torch only."""

import torch
import torch.nn.functional as F
from torch import nn


class SE(nn.Module):
    """Two convolutions, as timm has them; its hidden width is a multiple of 8."""

    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, max(channels // 16, 8), 1)
        self.fc2 = nn.Conv2d(max(channels // 16, 8), channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class LinearSE(nn.Module):
    """Two linear layers in a Sequential, as in PytorchInsight."""

    def __init__(self, channels):
        super().__init__()
        hidden = channels // 16
        self.fc = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x):
        return x * torch.sigmoid(self.fc(x.mean((2, 3))))[..., None, None]


class ConvModuleSE(nn.Module):
    """Two of MMCV's ConvModules, as in MMPretrain."""

    def __init__(self, channels):
        super().__init__()
        hidden = max(channels // 16, 8)
        self.conv1 = nn.Sequential()
        self.conv1.add_module('conv', nn.Conv2d(channels, hidden, 1))
        self.conv2 = nn.Sequential()
        self.conv2.add_module('conv', nn.Conv2d(hidden, channels, 1))

    def forward(self, x):
        return x * torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean((2, 3), keepdim=True)))))


class ECA(nn.Module):
    def __init__(self, channels, kernel_size):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x):
        z = self.conv(x.mean((2, 3))[:, None])[:, 0]
        return x * torch.sigmoid(z)[..., None, None]


class SGE(nn.Module):
    def __init__(self, channels, groups=64):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, groups, 1, 1))

    def forward(self, x):
        n, c, h, w = x.shape
        grouped = x.view(n * self.groups, -1, h, w)
        t = (grouped * grouped.mean((2, 3), keepdim=True)).sum(1).flatten(1)
        t = t - t.mean(1, keepdim=True)
        t = (t / (t.std(1, keepdim=True) + 1e-5)).view(n, self.groups, h, w) * self.weight + self.bias
        return (grouped * torch.sigmoid(t).view(n * self.groups, 1, h, w)).view(n, c, h, w)


class _ChannelGate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = channels // 16
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )

    def forward(self, x):
        return x * torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))[..., None, None]


class _SpatialGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.spatial = nn.Sequential()
        self.spatial.add_module('conv', nn.Conv2d(2, 1, 7, padding=3, bias=False))
        self.spatial.add_module('bn', nn.BatchNorm2d(1))

    def forward(self, x):
        stats = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.spatial(stats))


class CBAM(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.ChannelGate, self.SpatialGate = _ChannelGate(channels), _SpatialGate()

    def forward(self, x):
        return self.SpatialGate(self.ChannelGate(x))


class BAM(nn.Module):
    def __init__(self, channels):
        super().__init__()
        hidden = channels // 16
        self.channel_att, self.spatial_att = nn.Module(), nn.Module()
        self.channel_att.gate_c, self.spatial_att.gate_s = nn.Sequential(), nn.Sequential()
        for name, layer in dict(
            fc_0=nn.Linear(channels, hidden),
            bn_1=nn.BatchNorm1d(hidden),
            relu_1=nn.ReLU(),
            fc_final=nn.Linear(hidden, channels),
        ).items():
            self.channel_att.gate_c.add_module(f'gate_c_{name}', layer)
        for name, layer in dict(
            conv_reduce0=nn.Conv2d(channels, hidden, 1),
            bn_reduce0=nn.BatchNorm2d(hidden),
            relu_reduce0=nn.ReLU(),
            conv_di_0=nn.Conv2d(hidden, hidden, 3, padding=4, dilation=4),
            bn_di_0=nn.BatchNorm2d(hidden),
            relu_di_0=nn.ReLU(),
            conv_di_1=nn.Conv2d(hidden, hidden, 3, padding=4, dilation=4),
            bn_di_1=nn.BatchNorm2d(hidden),
            relu_di_1=nn.ReLU(),
            conv_final=nn.Conv2d(hidden, 1, 1),
        ).items():
            self.spatial_att.gate_s.add_module(f'gate_s_{name}', layer)

    def forward(self, x):
        channel = self.channel_att.gate_c(x.mean((2, 3)))[..., None, None]
        return x * (1 + torch.sigmoid(channel * self.spatial_att.gate_s(x)))


class _Block(nn.Module):
    """A residual block; ``widths`` has the output channels of its convolutions, ``deep`` of three."""

    def __init__(self, channels, width, stride, bottleneck, name, attention):
        super().__init__()
        out = 4 * width if bottleneck else width
        if bottleneck:
            convs = [(channels, width, 1, 1), (width, width, 3, stride), (width, out, 1, 1)]
        else:
            convs = [(channels, width, 3, stride), (width, width, 3, 1)]
        self.number = len(convs)
        for i, (a, b, k, s) in enumerate(convs, 1):
            self.add_module(f'conv{i}', nn.Conv2d(a, b, k, s, k // 2, bias=False))
            self.add_module(f'bn{i}', nn.BatchNorm2d(b))
        self.name = name
        if attention:
            self.add_module(name, attention(out))
        self.downsample = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x):
        out = x
        for i in range(1, self.number + 1):
            out = getattr(self, f'bn{i}')(getattr(self, f'conv{i}')(out))
            out = F.relu(out) if i < self.number else out
        out = getattr(self, self.name)(out) if hasattr(self, self.name) else out
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A ResNet; ``attention[i]`` makes the block of each residual block in stage ``i``."""

    def __init__(self, blocks, bottleneck=False, name='se', attention=(None,) * 4, between=None):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for i, number in enumerate(blocks):
            width, stage = 64 * 2**i, []
            for j in range(number):
                stride = 2 if i and not j else 1
                stage.append(_Block(channels, width, stride, bottleneck, name, attention[i]))
                channels = 4 * width if bottleneck else width
            self.add_module(f'layer{i + 1}', nn.Sequential(*stage))
            if between and i < 3:
                self.add_module(f'bam{i + 1}', between(channels))
        self.fc = nn.Linear(channels, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = []
        for i in range(1, 5):
            x = getattr(self, f'layer{i}')(x)
            x = getattr(self, f'bam{i}')(x) if hasattr(self, f'bam{i}') else x
            maps.append(x)
        return maps
