"""Record what blocks and detectors with attention compute, or compare it with a record.

    python -m tests.witness.record --write         the committed files, tests/witness/*
    python -m tests.witness.record --bits FILE     all bits, by every backend: written if FILE is not there,
                                                   else compared with it (the same machine only)

The committed files were written by 7b9e8ab, before the packages were given their present names. Weights and
inputs are in the files, since random numbers may change with PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

import torch
from mmengine.hub import get_config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from torch import nn

from mmattn import ops
from mmattn.checkpoints import save_adapter

FOLDER = Path(__file__).parent
BLOCKS_FILE, MODELS_FILE = FOLDER / 'blocks.pth', FOLDER / 'models.pth'
CHECKPOINT, ADAPTER = FOLDER / 'retinanet_cbam.pth', FOLDER / 'retinanet_cbam.safetensors'
DTYPES = dict(float32=torch.float32, float64=torch.float64, bfloat16=torch.bfloat16)
SIZE = (64, 80)
USE_BACKEND = getattr(ops, 'backend', None) or ops.implementation  # 7b9e8ab has the latter
CHANNELS = 8


class Scale(nn.Module):
    """A module that is no block of ours, for External."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.weight[:, None, None]


BLOCKS = dict(
    BAM={},
    CBAM={},
    ChannelAttention={},
    CoordAttention={},
    ECA={},
    EMA={},
    ESE={},
    GCT={},
    GlobalContext={},
    NonLocal={},
    SCSE={},
    SE={},
    SGE={},
    SimAM={},
    SpatialAttention={},
    TripletAttention={},
    Compose=dict(
        blocks=[dict(type='mmattn.SpatialAttention'), dict(type='mmattn.ChannelAttention', reduction=4)]
    ),
    External=dict(module=dict(type=Scale), channels='width'),
    SKConv=dict(out_channels=CHANNELS, kernel_size=3, padding=1),
    TemporalAttention=dict(num_frames=2),
)
INSERTS = dict(
    retinanet_cbam=[
        dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.CBAM')),
        dict(at='neck.fpn_convs.*', block=dict(type='mmattn.ECA', start='identity')),
    ],
    faster_rcnn_mixed=[
        dict(at='backbone.stage[2-4]', block=dict(type='mmattn.SE', reduction=4)),
        dict(at='backbone.stage[2-4]', block=dict(type='mmattn.SpatialAttention'), order=1),
        dict(at='neck.topdown', block=dict(type='mmattn.CoordAttention')),
        dict(at='neck.output.*', block=dict(type='mmattn.BAM')),
    ],
    retinanet_identity=[
        dict(at='backbone.layer*.*.residual', block=dict(type='mmattn.CBAM', start='identity')),
        dict(at='neck.lateral', block=dict(type='mmattn.SCSE', start='identity')),
    ],
)


def detector_config(name: str, insert: list[dict] | None):
    """A detector that is a hundredth of MMDetection's, without pretrained weights."""
    faster = name.startswith('faster')
    config = get_config(
        'mmdet::'
        + (
            'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
            if faster
            else 'retinanet/retinanet_r50_fpn_1x_coco.py'
        )
    ).model
    widths = [16, 32, 64, 128] if faster else [4, 8, 16, 32]
    config.backbone.update(
        depth=50 if faster else 18, base_channels=4, stem_channels=4, init_cfg=None, zero_init_residual=False
    )
    config.neck.update(in_channels=widths, out_channels=CHANNELS)
    head = config.rpn_head if faster else config.bbox_head
    head.update(in_channels=CHANNELS, feat_channels=CHANNELS)
    if faster:
        config.roi_head.bbox_roi_extractor.out_channels = CHANNELS
        config.roi_head.bbox_head.update(in_channels=CHANNELS, fc_out_channels=CHANNELS, num_classes=3)
    else:
        head.update(stacked_convs=1, num_classes=3)
    if insert is not None:
        config.update(type='mmattn.WithAttention', detector=config.type, insert=insert)
    return config


def build_detector(name: str, insert: list[dict] | None) -> nn.Module:
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = ROOT_MODELS.build(detector_config(name, insert))
    model.init_weights()
    return model


def build_block(name: str, start: str) -> nn.Module:
    init_default_scope('mmdet')
    torch.manual_seed(1)
    return ROOT_MODELS.build(dict(type=f'mmattn.{name}', in_channels=CHANNELS, start=start, **BLOCKS[name]))


def randomise(block: nn.Module) -> None:
    """Move all weights off their start, so that no term of a gradient is zero."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)


def run_block(block: nn.Module, x: torch.Tensor, dy: torch.Tensor) -> dict:
    """Output and gradients in training, and the state dict afterwards (norms have moved)."""
    x = x.clone().requires_grad_()
    y = block.train()(x)
    y.backward(dy)
    with torch.no_grad():
        evaluated = block.eval()(x)
    return dict(
        y=y.detach(),
        dx=x.grad,
        evaluated=evaluated,
        gradients={name: p.grad for name, p in block.named_parameters()},
        buffers={name: b.clone() for name, b in block.named_buffers()},
    )


def run_detector(model: nn.Module, image: torch.Tensor) -> dict:
    """Feature maps, and gradients: of attention whole, of the detector's parameters their sums."""
    model.eval()
    model.zero_grad()
    maps = model.extract_feat(image)
    sum((each * each.detach().cos()).sum() for each in maps).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return dict(
        maps=[each.detach() for each in maps],
        gradients={
            name: each.clone() if name.startswith('attention.') else each.sum().item()
            for name, each in gradients.items()
        },
    )


def train_detector(model: nn.Module, steps: int = 3) -> list[float]:
    """Losses of some steps of SGD on two images with two boxes each."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, *SIZE, generator=generator)
    samples = []
    for _ in images:
        sample = DetDataSample(
            metainfo=dict(
                img_shape=SIZE,
                pad_shape=SIZE,
                batch_input_shape=SIZE,
                scale_factor=(1.0, 1.0),
                ori_shape=SIZE,
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[4.0, 6.0, 40.0, 50.0], [30.0, 10.0, 70.0, 60.0]]),
            labels=torch.tensor([0, 2]),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        samples.append(sample)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)
    losses = []
    torch.manual_seed(4)  # samplers of boxes
    for _ in range(steps):
        optimizer.zero_grad()
        loss, _ = model.parse_losses(model.loss(images, samples))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def record_blocks(backend: str | None = None, dtypes=('float32', 'float64')) -> dict:
    generator = torch.Generator().manual_seed(5)
    x, dy = (torch.randn(2, CHANNELS, 6, 5, generator=generator) for _ in range(2))
    found = dict(x=x, dy=dy, blocks={})
    for name in BLOCKS:
        for start in ('paper', 'identity'):
            for dtype in dtypes:
                block = build_block(name, start)
                if start == 'paper':
                    randomise(block)
                entry = found['blocks'].setdefault(
                    (name, start),
                    dict(
                        state_dict={
                            key: value.clone() if isinstance(value, torch.Tensor) else value
                            for key, value in block.state_dict().items()
                        }
                    ),
                )
                half = DTYPES[dtype] is torch.bfloat16  # under autocast: the weights stay in float32
                block.to(torch.float32 if half else DTYPES[dtype])
                with (
                    USE_BACKEND(backend) if backend else contextlib.nullcontext(),
                    torch.autocast('cpu', torch.bfloat16, enabled=half),
                ):
                    entry[dtype] = run_block(block, x.to(DTYPES[dtype]), dy.to(DTYPES[dtype]))
    return found


def record_detectors(dtypes=('float32', 'float64')) -> dict:
    generator = torch.Generator().manual_seed(6)
    image = torch.randn(1, 3, *SIZE, generator=generator)
    found = dict(image=image, models={})
    for name, insert in INSERTS.items():
        model = build_detector(name, insert)
        entry = found['models'][name] = dict(
            state_dict={key: value.clone() for key, value in model.state_dict().items()}
        )
        for dtype in dtypes:
            model.to(DTYPES[dtype])
            entry[dtype] = run_detector(model, image.to(DTYPES[dtype]))
        model = build_detector(name, insert)
        entry['losses'] = train_detector(model)
    return found


def write() -> None:
    torch.save(record_blocks(), BLOCKS_FILE)
    found = record_detectors()
    torch.save(found, MODELS_FILE)
    model = build_detector('retinanet_cbam', INSERTS['retinanet_cbam'])
    save_checkpoint(dict(meta=dict(), state_dict=model.state_dict()), str(CHECKPOINT))
    save_adapter(model, ADAPTER, overwrite=True)


def differences(one, other, where: str = '') -> list[str]:
    """Where two records differ in any bit."""
    if isinstance(one, dict):
        if list(one) != list(other):
            return [f'{where}: keys {list(one)} != {list(other)}']
        return [each for key in one for each in differences(one[key], other[key], f'{where}/{key}')]
    if isinstance(one, (list, tuple)):
        return [
            each
            for i, (a, b) in enumerate(zip(one, other, strict=True))
            for each in differences(a, b, f'{where}/{i}')
        ]
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.equal(other)
    else:
        same = one == other
    return [] if same else [where]


def all_bits() -> dict:
    cpu = 'cpu' if hasattr(ops, 'backend') else 'compiled'  # as 7b9e8ab called it
    found = dict(detectors=record_detectors(), blocks=record_blocks())
    for backend in ('plain', 'aten', 'cpu', 'triton'):
        found[backend] = record_blocks(cpu if backend == 'cpu' else backend)
    for backend in ('plain', 'aten', 'cpu'):
        found[f'{backend} bf16'] = record_blocks(cpu if backend == 'cpu' else backend, ['bfloat16'])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument('--write', action='store_true')
    group.add_argument('--bits', metavar='FILE')
    args = parser.parse_args()
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('ERROR')
    if args.write:
        write()
        return
    found = all_bits()
    if not Path(args.bits).exists():
        torch.save(found, args.bits)
        print(f'written: {args.bits}')
        return
    differing = differences(torch.load(args.bits, weights_only=False), found)
    print('\n'.join(differing[:20]) or 'all bits are the same')
    sys.exit(bool(differing))


if __name__ == '__main__':
    main()
