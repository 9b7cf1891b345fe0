"""Time whole detectors with and without attention, and measure the memory of a training step.

    python benchmarks/detectors.py --threads 2      on this machine's CPU, write results/detectors_cpu.json
    python benchmarks/detectors.py --device cuda    on its GPU, write results/detectors_cuda.json

Each has the block in all residual branches of its ResNet-50, computed by our ops and by plain PyTorch.
``python benchmarks/speed_page.py`` writes docs/speed.md from the files.
"""

import argparse
import json
from pathlib import Path

import torch
from machine import describe

from mmattn.files import write_file

ROOT = Path(__file__).resolve().parents[1]
DETECTORS = {
    'Faster R-CNN': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'RetinaNet': 'retinanet/retinanet_r50_fpn_1x_coco.py',
}


def build(detector, block, device):
    from mmdet.utils import register_all_modules
    from mmengine.hub import get_config
    from mmengine.registry import MODELS

    register_all_modules()
    cfg = get_config(f'mmdet::{DETECTORS[detector]}').model
    cfg.backbone.init_cfg = None
    if block:
        # Attention in the frozen stage is frozen with it, as in the paper's figures.
        cfg.update(
            detector=cfg.type,
            type='mmattn.WithAttention',
            insert=[
                dict(
                    at='backbone.layer[1-4].*.residual',
                    freeze_with_host=True,
                    block=dict(type=f'mmattn.{block}', start='identity'),
                )
            ],
        )
    return MODELS.build(cfg).to(device)


def measure(detector, dtype, args):
    from mmattn import ops
    from mmattn.cost import inference, peak_memory, time_interleaved, training_step

    size, device = tuple(args.size), torch.device(args.device)
    models = {name: build(detector, name, device) for name in [None, *args.blocks]}
    rows = []
    for training in (True, False):
        make = training_step if training else inference
        runs = {}
        for block, model in models.items():
            for backend in ['plain'] if block is None else ['auto', 'plain']:
                name = 'none' if block is None else f'{block} {"ours" if backend == "auto" else "plain"}'
                runs[name] = _under(backend, make(model, size, args.batch, dtype), ops)
        times = time_interleaved(runs, args.repeats, 1 if device.type == 'cpu' else 5, args.batch, device)
        for name, timing in times.items():
            row = dict(
                detector=detector,
                attention=name,
                dtype=dtype,
                training=training,
                size=size,
                batch=args.batch,
                seconds=timing.seconds,
                ratio=timing.ratio(times['none']),
            )
            if training:
                row['peak_bytes'] = peak_memory(runs[name], device)
            rows.append(row)
            print(
                f'{detector} {dtype} {"training " if training else "inference"} {name:10} '
                f'{timing.median:8.3f} s  x{row["ratio"]:.3f}  '
                + (f'{row["peak_bytes"] / 2**20:,.0f} MiB' if training else ''),
                flush=True,
            )
    return rows


def _under(backend, run, ops):
    def each():
        with ops.backend(backend):
            run()

    return each


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--detectors', nargs='+', default=list(DETECTORS), choices=list(DETECTORS))
    parser.add_argument('--blocks', nargs='+', default=['CBAM'])
    parser.add_argument('--dtypes', nargs='+', default=['fp32'], choices=['fp32', 'bf16', 'fp16'])
    parser.add_argument('--size', nargs=2, type=int, default=[800, 1344])
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, help='of PyTorch, on a CPU')
    parser.add_argument(
        '--output', type=Path, help='default: results/detectors_cpu.json or detectors_cuda.json'
    )
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    device_type = torch.device(args.device).type
    output = args.output or ROOT / f'benchmarks/results/detectors_{device_type}.json'
    rows = []
    for detector in args.detectors:
        for dtype in args.dtypes:
            rows += measure(detector, dtype, args)
            output.parent.mkdir(parents=True, exist_ok=True)
            write_file(output, json.dumps(dict(machine=describe(), rows=rows), indent=1) + '\n')


if __name__ == '__main__':
    main()
