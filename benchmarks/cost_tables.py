"""Count what the detectors in table 5 of ECA-Net cost, and write the tables of docs/cost.md.

python benchmarks/cost_tables.py          count, write results/cost.json and the page
python benchmarks/cost_tables.py --memory count the second table alone
python benchmarks/cost_tables.py --page   the page again, from the file
"""

import argparse
import json
import sys
from contextlib import redirect_stdout
from copy import deepcopy
from pathlib import Path

from machine import describe
from pages import with_text

from mmattn.files import write_file

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/cost.json'
PAGE = ROOT / 'docs/cost.md'
SIZE = (800, 1280)
DETECTORS = {
    'Faster R-CNN': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'Mask R-CNN': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'RetinaNet': 'retinanet/retinanet_r50_fpn_1x_coco.py',
}
# Trained parameters in millions and GFLOPs, Wang et al., CVPR 2020, table 5.
PAPER = {
    ('Faster R-CNN', 50): dict(none=(41.53, 207.07), SE=(44.02, 207.18), ECA=(41.53, 207.18)),
    ('Faster R-CNN', 101): dict(none=(60.52, 283.14), SE=(65.24, 283.33), ECA=(60.52, 283.32)),
    ('Mask R-CNN', 50): dict(none=(44.18, 275.58), SE=(46.67, 275.69), ECA=(44.18, 275.69)),
    ('Mask R-CNN', 101): dict(none=(63.17, 351.65), SE=(67.89, 351.84), ECA=(63.17, 351.83)),
    ('RetinaNet', 50): dict(none=(37.74, 239.32), SE=(40.23, 239.43), ECA=(37.74, 239.43)),
    ('RetinaNet', 101): dict(none=(56.74, 315.39), SE=(61.45, 315.58), ECA=(56.74, 315.57)),
}
BLOCKS = dict(
    none=None,
    SE=dict(type='mmattn.SE', bias=False),
    ECA=dict(type='mmattn.ECA'),
    CBAM=dict(type='mmattn.CBAM'),
)


def build(detector, depth, block):
    from mmdet.registry import MODELS
    from mmengine.hub import get_config
    from mmengine.registry import DefaultScope

    from mmattn import attach

    cfg = get_config(f'mmdet::{DETECTORS[detector]}').model
    cfg.backbone.update(depth=depth, init_cfg=None)
    if block == 'SK':
        cfg.backbone.update(
            type='ResNeXt',
            groups=32,
            base_width=4,
            stage_with_dcn=(True,) * 4,
            dcn=dict(type='mmattn.SKConv', fallback_on_stride=False),
        )
    if detector == 'Mask R-CNN':  # see the page for how it was counted
        cfg.roi_head.bbox_head.num_classes = 80
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg)
    if BLOCKS.get(block):
        attach(
            model,
            [dict(at='backbone.layer[1-4].*.residual', block=deepcopy(BLOCKS[block]), freeze_with_host=True)],
        )
    return model


def paper_ops(model, cost):
    """Count operations as MMCV 1 did: by modules; functions are counted in attention blocks only."""
    from torch import nn

    modules = dict(model.named_modules())
    counted = cost.ops.total(['convolution', 'linear', 'bias', 'norm'])
    for path, counter in cost.ops.by_module.items():
        own = modules.get(path)
        in_attention = any(f'{path}.'.startswith(f'{block}.') for block in cost.attention)
        if isinstance(own, nn.ReLU):
            counted += counter['activation']
        if isinstance(own, (nn.MaxPool2d, nn.AdaptiveAvgPool2d)) or in_attention:
            counted += counter['pooling']
    return counted


def as_mask_rcnn_was_counted(model, ops, parameters):
    """Add a background class to what is predicted per class, and count the upsampling by its output."""
    head, mask = model.roi_head.bbox_head, model.roi_head.mask_head
    rois, mask_rois = 1000, 100
    up = mask.upsample
    deconvolution = mask_rois * 14 * 14 * up.weight.numel()
    boxes, masks = head.fc_reg.in_features * 4, mask.conv_logits.in_channels
    ops += 3 * deconvolution  # four outputs for each input
    ops += rois * (boxes + 4) + mask_rois * 28 * 28 * (masks + 1)
    return ops, parameters + boxes + 4 + masks + 1


def measure():
    from mmattn.cost import model_cost

    found = []
    for detector, depth in PAPER:
        for block in [*BLOCKS, *(['SK'] if depth == 50 else [])]:
            model = build(detector, depth, block)
            cost = model_cost(model, SIZE)
            ops, trained = paper_ops(model, cost), cost.trainable
            if detector == 'Mask R-CNN':
                ops, trained = as_mask_rcnn_was_counted(model, ops, trained)
            found.append(
                dict(
                    detector=detector,
                    depth=depth,
                    block=block,
                    trained=cost.trainable,
                    trained_as_paper=trained,
                    ops_as_paper=ops,
                    kinds=cost.ops.by_category(),
                    attention_ops=cost.attention_ops(),
                    saved_bytes=cost.saved_bytes(),
                    not_run=cost.not_run,
                    not_counted=dict(cost.ops.not_counted),
                )
            )
    return found


def saved():
    """Count what a ResNet-50 with norm_eval keeps for the backward pass of one 800x1344 image."""
    from mmdet.models import ResNet

    from mmattn import attach
    from mmattn.cost import model_cost

    found = []
    for frozen in (-1, 1):
        for block in BLOCKS:
            for freeze in [False] if block == 'none' or frozen < 0 else [False, True]:
                model = ResNet(depth=50, frozen_stages=frozen)
                if BLOCKS[block]:
                    attach(
                        model,
                        [
                            dict(
                                at='layer[1-4].*.residual', block=dict(BLOCKS[block]), freeze_with_host=freeze
                            )
                        ],
                    )
                cost = model_cost(model, (800, 1344))
                row = dict(frozen_stages=frozen, block=block, freeze_with_host=freeze)
                found.append(dict(row, recompute=True, bytes=cost.saved_bytes()))
                if cost.frozen_stages:
                    found.append(dict(row, recompute=False, bytes=cost.frozen_stages.saved_otherwise))
    return found


def tables(results):
    lines = [
        '| detector | backbone | trained M, paper | ours | GFLOPs, paper | ours | G operations | '
        'of attention | MiB kept |',
        '|---|---|---|---|---|---|---|---|---|',
    ]
    for row in results['detectors']:
        paper = PAPER[row['detector'], row['depth']].get(row['block'])
        ours = f'{row["trained_as_paper"] / 1e6:.2f}', f'{row["ops_as_paper"] / 1e9:.2f}'
        theirs = tuple(f'{value:.2f}' for value in paper) if paper else ('-', '-')
        marks = [f'**{mine}**' if paper and mine != their else mine for mine, their in zip(ours, theirs)]
        name = (
            'SKNet-50'
            if row['block'] == 'SK'
            else f'R{row["depth"]}' + ('' if row['block'] == 'none' else f' + {row["block"]}')
        )
        lines.append(
            f'| {row["detector"]} | {name} | {theirs[0]} | {marks[0]} | {theirs[1]} | {marks[1]} | '
            f'{sum(row["kinds"].values()) / 1e9:.2f} | {row["attention_ops"] / 1e9:.3f} | '
            f'{row["saved_bytes"] / 2**20:,.0f} |'
        )
    memory = [
        '| R50, block in all residuals | `frozen_stages=-1` | `frozen_stages=1` | '
        '`frozen_stages=1, recompute=False` | `frozen_stages=1, freeze_with_host=True` |',
        '|---|---|---|---|---|',
    ]
    by = {
        (row['frozen_stages'], row['block'], row['freeze_with_host'], row['recompute']): row['bytes']
        for row in results['saved']
    }
    for block in BLOCKS:
        cells = []
        for key in ((-1, False, True), (1, False, True), (1, False, False), (1, True, True)):
            frozen, freeze, recompute = key
            if (frozen, block, freeze, recompute) in by:
                number, base = by[frozen, block, freeze, recompute], by[frozen, 'none', False, True]
                cells.append(
                    f'{number / 2**20:,.0f} MiB' + ('' if block == 'none' else f' ({number / base - 1:+.1%})')
                )
            else:
                cells.append('-')
        memory.append(f'| {block} | {" | ".join(cells)} |')
    machine = results['machine']
    note = (
        'Counted, not timed: the same on every machine with a C compiler. '
        f'torch {machine["versions"]["torch"]}; `{machine["command"]}`.'
    )
    return '\n'.join(lines) + '\n', '\n'.join(memory) + f'\n\n{note}\n'


def write_page(results):
    page = PAGE.read_text(encoding='utf-8')
    for begin, text in zip(('<!-- table5 -->', '<!-- saved -->'), tables(results)):
        page = with_text(page, begin, '<!-- end -->', text.removesuffix('\n'))
    PAGE.write_text(page, encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--page', action='store_true', help='only write the page, from the file')
    parser.add_argument('--memory', action='store_true', help='count the second table alone')
    args = parser.parse_args()
    if args.memory:
        with redirect_stdout(sys.stderr):
            results = dict(json.loads(RESULTS.read_text()), saved=saved())
    elif not args.page:
        with redirect_stdout(sys.stderr):
            results = dict(machine=describe(), size=SIZE, detectors=measure(), saved=saved())
    if not args.page:
        write_file(RESULTS, json.dumps(results, indent=1) + '\n')
    write_page(json.loads(RESULTS.read_text()))


if __name__ == '__main__':
    main()
