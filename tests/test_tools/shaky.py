"""A neck that draws from every global generator in each training step."""

import random

import numpy as np
from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from torch.nn import functional as F


@MODELS.register_module(force=True)
class ShakyFPN(FPN):
    """FPN with dropout, and a gain of Python's and NumPy's."""

    def forward(self, inputs):
        outputs = super().forward(inputs)
        if not self.training:
            return outputs
        gain = 1 + 0.2 * random.random() + 0.2 * np.random.random()
        return tuple(gain * F.dropout(output, 0.2) for output in outputs)
