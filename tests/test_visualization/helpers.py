"""Models and inspections for the tests of visualization."""

import numpy as np
import torch

from mmattn.visualization.gate_statistics import BINS, NEAR
from mmattn.visualization.inspection import inspect_image
from tests.test_blocks.helpers import randomise
from tests.test_insertion.models import build, model_cfg, narrow


def traces(model):
    """All that a hook could leave on a model."""
    hook_dicts = (
        '_forward_hooks',
        '_forward_pre_hooks',
        '_backward_hooks',
        '_backward_pre_hooks',
        '_forward_hooks_always_called',
        '_forward_hooks_with_kwargs',
    )
    return (
        [
            (
                name,
                tuple(len(getattr(m, hooks)) for hooks in hook_dicts),
                sorted(m.__dict__),
                m.training,
                [id(b) for b in m._buffers.values()],
            )
            for name, m in model.named_modules()
        ],
        {key: value.clone() for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)},
        [p.requires_grad for p in model.parameters()],
        torch.get_rng_state(),
    )


def assert_same_traces(model, before):
    now = traces(model)
    assert now[0] == before[0] and now[2] == before[2] and now[3].equal(before[3])
    assert now[1].keys() == before[1].keys()
    assert all(now[1][key].equal(before[1][key]) for key in now[1])


def model_with_attention(block='mmattn.CBAM', at='backbone.layer[1-4].*.residual', **options):
    cfg = narrow(
        model_cfg(
            'RetinaNet',
            insert=[dict(at=at, block=dict(type=block, **options))],
            frozen_stages=-1,
            norm_eval=False,
        )
    )
    model = build(cfg)
    randomise(model.attention)
    return model


def naive_stats(gate, low, high):
    """The definitions in numpy, gate by gate."""
    gate = gate.astype(np.float64)
    near = NEAR * (high - low)
    at_low, at_high = gate <= low + near, gate >= high - near
    channels = range(gate.shape[1])
    share = np.histogram(gate, BINS, (low, high))[0] / gate.size
    return dict(
        mean=gate.mean(),
        std=gate.std(),
        saturation=(at_low | at_high).mean(),
        stuck_low=np.mean([at_low[:, c].all() for c in channels]),
        stuck_high=np.mean([at_high[:, c].all() for c in channels]),
        entropy=-sum(p * np.log2(p) for p in share if p > 0),
    )


def batch(model, image, size):
    """An image as the test pipeline of MMDetection makes it: scaled to ``size``."""
    from mmcv.transforms import Compose
    from mmdet.registry import TRANSFORMS

    steps = [
        dict(type='Resize', scale=size, keep_ratio=True),
        dict(type='PackDetInputs', meta_keys=('ori_shape', 'img_shape', 'scale_factor')),
    ]
    packed = Compose([TRANSFORMS.build(step) for step in steps])(
        dict(img=image[..., ::-1].copy(), ori_shape=image.shape[:2], img_shape=image.shape[:2])
    )
    return dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])


def inspect(model, image, size=(96, 64), **options):
    classes = [f'class {i}' for i in range(80)]
    return inspect_image(
        model.eval(), image, batch(model, image, size), 'wide.png', classes, **{'score_thr': 0.0, **options}
    )


def preprocessed(block='mmattn.CBAM', **options):
    """With the padding of a real detector, and few detections."""
    model = model_with_attention(block, **options)
    model.test_cfg.update(max_per_img=5, score_thr=0.0)
    return model
