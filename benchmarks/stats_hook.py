"""Measure what AttentionStatsHook adds to a training step, and write the table into docs/visualization.md.

python benchmarks/stats_hook.py           measure, write results/stats_hook.json and the page
python benchmarks/stats_hook.py --page    the page again, from the file
"""

import tempfile
from pathlib import Path
from types import SimpleNamespace

from machine import in_words
from pages import run, with_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/stats_hook.json'
PAGE = ROOT / 'docs/visualization.md'
BEGIN, END = '<!-- benchmarks/stats_hook.py -->', '<!-- end -->'
BLOCKS = ('SE', 'ECA', 'CBAM', 'BAM')
SIZE = (256, 320)


def measure(block, repeats):
    """Time training steps of RetinaNet R50 with ``block`` in every residual branch, without and with hook."""
    import torch
    from mmdet.testing import demo_mm_inputs
    from mmdet.utils import register_all_modules
    from mmengine.hub import get_config
    from mmengine.optim import OptimWrapper
    from mmengine.registry import MODELS
    from mmengine.visualization import Visualizer

    from mmattn.cost import time_interleaved
    from mmattn.hooks import AttentionStatsHook

    register_all_modules()
    cfg = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').model
    cfg.backbone.init_cfg = None
    cfg.update(
        type='mmattn.WithAttention',
        detector='RetinaNet',
        insert=[
            dict(at='backbone.layer[1-4].*.residual', block=dict(type=f'mmattn.{block}', start='identity'))
        ],
    )
    model = MODELS.build(cfg).train()
    data = demo_mm_inputs(2, [(3, *SIZE)] * 2, [10, 10], num_classes=80)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0, momentum=0.9)
    with tempfile.TemporaryDirectory() as folder:
        runner = SimpleNamespace(
            model=model,
            optim_wrapper=OptimWrapper(optimizer),
            iter=0,
            visualizer=Visualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=folder),
        )
        always, never = AttentionStatsHook(interval=1), AttentionStatsHook(interval=10**9)
        for hook in (always, never):
            hook.before_train(runner)

        def step(hook=None):
            if hook:
                hook.before_train_iter(runner, 0)
            model.train_step(data, runner.optim_wrapper)
            if hook:
                hook.after_train_iter(runner, 0)

        def idle():
            for _ in range(1000):
                never.before_train_iter(runner, 0)
                never.after_train_iter(runner, 0)

        times = time_interleaved(dict(plain=step, measured=lambda: step(always), idle=idle), repeats, 2)
        runner.visualizer.close()
    ratio = times['measured'].ratio(times['plain'])
    asleep = times['idle'].median / 1000 / times['plain'].median
    interval = AttentionStatsHook().interval
    return dict(
        block=block,
        sites=len(always._sources),
        step=times['plain'].seconds,
        measured=times['measured'].seconds,
        ratio=ratio,
        idle=asleep,
        interval=interval,
        overhead=(ratio - 1 + asleep * (interval - 1)) / interval,
    )


def page(results):
    lines = ['| block | sites | measured step | overhead at the default interval |', '|---|---|---|---|']
    lines += [
        f'| `{each["block"]}` | {each["sites"]} | x{each["ratio"]:.2f} | +{each["overhead"]:.2%} |'
        for each in results['blocks']
    ]
    note = (
        f'RetinaNet R50, batch 2 at {SIZE[0]}x{SIZE[1]}, a block in every residual branch; medians of '
        f'ratios of {len(results["blocks"][0]["step"])} interleaved steps;\n'
        f'{in_words(results["machine"])}'
    )
    return with_text(PAGE.read_text(encoding='utf-8'), BEGIN, END, '\n'.join([*lines, '', f'{note}.']))


if __name__ == '__main__':
    run(vars(), lambda repeats: dict(blocks=[measure(block, repeats) for block in BLOCKS]), repeats=7)
