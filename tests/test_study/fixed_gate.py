"""A gate that is fixed at 1: with it, a detector is the plain one."""

from torch import nn


class FixedGate(nn.Module):
    def __init__(self, in_channels):
        super().__init__()

    def forward(self, x):
        return x * 1.0
