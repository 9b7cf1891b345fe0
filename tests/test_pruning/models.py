"""Small networks to prune, and the same with channels at zero instead of gone."""

from copy import deepcopy

import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmattn.blocks import AttentionBlock
from mmattn.insertion import brief_log
from mmattn.insertion.attach_detach import attach


class Network(nn.Module):
    """Two residual stages and a depthwise convolution, with an output that keeps its channels."""

    def __init__(self, width=24):
        super().__init__()
        norm, plain = dict(type='BN'), dict(norm_cfg=None, act_cfg=None)
        self.conv1 = ConvModule(3, width, 3, padding=1, norm_cfg=norm)
        self.conv2 = ConvModule(width, width, 3, padding=1, norm_cfg=norm, act_cfg=None)
        self.depthwise = ConvModule(width, width, 3, padding=1, groups=width, **plain)
        self.conv3 = ConvModule(width, 2 * width, 1, **plain)
        self.out = ConvModule(2 * width, 5, 1, **plain)

    def extract_feat(self, x):
        x = self.conv1(x)
        x = (x + self.conv2(x)).relu()
        return self.out(self.conv3(self.depthwise(x)).relu())

    forward = extract_feat


class Scale(nn.Module):
    """A block that is not derived from ours."""

    def __init__(self, in_channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(in_channels, 1, 1))

    def forward(self, x):
        return x * self.scale


def network(block=None, at=('conv2', 'conv3'), seed=0):
    """A network with random weights and statistics, in eval mode, with a block on two convolutions."""
    torch.manual_seed(seed)
    model = Network()
    if block is not None:
        with brief_log():
            attach(model, [dict(at=list(at), block=block)])
    return randomize(model).eval()


def randomize(model):
    """Give norms statistics and weights of all sizes, as training does."""
    for module in model.modules():
        if getattr(module, 'running_mean', None) is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return model


def zeroed(model, graph, taken):
    """A copy of ``model`` in which the layers give zero where ``graph``, of another copy, takes channels."""
    names = {module: name for name, module in graph.model.named_modules()}
    found = deepcopy(model)
    with torch.no_grad():
        for group, channels in taken:
            for item in group.items:
                layer = item.dep.target.module
                if names.get(layer) not in group.layers or isinstance(layer, AttentionBlock):
                    continue
                mine = found.get_submodule(names[layer])
                rows = [i for i, root in zip(item.idxs, item.root_idxs) if root in set(channels)]
                for parameter in (mine.weight, mine.bias):
                    if parameter is not None:
                        parameter[rows] = 0
    return found
