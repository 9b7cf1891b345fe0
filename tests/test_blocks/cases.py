"""How the contract test builds each block: required options, and the values to draw from."""

from __future__ import annotations

import inspect

import torch
from torch import nn

from mmattn.blocks.contract import Case, Subject
from mmattn.registry import MODELS


class Gate(nn.Module):
    """A module for External that is no block."""

    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            mean = x.mean((2, 3), dtype=self.fc.weight.dtype)
            return x * torch.sigmoid(self.fc(mean))[..., None, None].to(x.dtype)


REDUCTIONS = [1, 2, 3, 4]
HALVES = [dict(type='ChannelAttention', reduction=4), dict(type='SpatialAttention', kernel_size=3)]
GATE = dict(type='tests.test_blocks.cases.Gate')
CASES = dict(
    BAM=Case(values=dict(reduction=REDUCTIONS, dilation=[1, 2, 4], form=['code', 'paper'])),
    CBAM=Case(values=dict(reduction=REDUCTIONS, kernel_size=[3, 7])),
    Capacity=Case(values=dict(hidden=[None, 1, 3])),
    ChannelAttention=Case(values=dict(reduction=REDUCTIONS, pool_types=[('avg',), ('max',), ('avg', 'max')])),
    Compose=Case(
        dict(blocks=HALVES),
        dict(
            how=['chain', 'parallel'],
            blocks=[
                HALVES[:1],
                HALVES[::-1],
                [dict(type='SE'), dict(type='ECA')],
                [dict(type='SGE', groups=2), dict(type='SGE', groups=4)],
            ],
        ),
    ),
    CoordAttention=Case(values=dict(reduction=REDUCTIONS)),
    ECA=Case(values=dict(kernel_size=[None, 1, 3, 7], gamma=[1, 2.5], b=[0, 1, 3])),
    EMA=Case(values=dict(factor=[None, 1, 2, 4])),
    External=Case(dict(module=GATE, channels='width'), dict(module=[GATE], channels=['width'])),
    GCT=Case(values=dict(epsilon=[1e-5, 1e-3], mode=['l1', 'l2'], after_relu=[False, True])),
    GlobalContext=Case(
        values=dict(
            ratio=[1 / 16, 0.25, 1],
            pooling_type=['att', 'avg'],
            fusion_types=[['channel_add'], ['channel_mul'], ['channel_mul', 'channel_add']],
        ),
        without_effect=('conv_mask.bias',),
    ),
    NonLocal=Case(
        values=dict(
            reduction=[1, 2, 64],
            use_scale=[True, False],
            norm_cfg=[None],
            sub_sample=[False],
            mode=['embedded_gaussian', 'gaussian', 'dot_product', 'concatenation'],
        )
    ),
    SCSE=Case(values=dict(reduction=REDUCTIONS, combine=['max', 'add'])),
    SKConv=Case(
        dict(out_channels=32, padding=1),
        dict(
            out_channels=[4, 8],
            kernel_size=[3],
            stride=[1],
            padding=[1],
            dilation=[1],
            groups=[1, 4],
            bias=[False, True],
            branches=[2, 3],
            by=['dilation', 'kernel_size'],
            reduction=REDUCTIONS,
            min_channels=[1, 32],
        ),
    ),
    SE=Case(values=dict(reduction=REDUCTIONS, bias=[True, False])),
    SGE=Case(values=dict(groups=[None, 1, 2, 4])),
    SimAM=Case(values=dict(e_lambda=[1e-4, 1e-2])),
    SpatialAttention=Case(values=dict(kernel_size=[3, 7], descriptor=['pool', 'conv'])),
    TemporalAttention=Case(
        dict(num_frames=2),
        dict(num_frames=[1, 2], per_channel=[False, True], reduction=REDUCTIONS, kernel_size=[1, 3, 5]),
        frames=2,
    ),
    TripletAttention=Case(values=dict(no_spatial=[False, True])),
)


def all_blocks():
    """Return all registered blocks by name."""
    MODELS.import_from_location()
    blocks = {name: cls for name, cls in sorted(MODELS.module_dict.items()) if inspect.isclass(cls)}
    return {name: Subject(cls, CASES.get(name)) for name, cls in blocks.items()}
