"""Measure what the start of new attention does to a trained detector: fine-tune it with and without.

    python benchmarks/start.py --data-root FOLDER

A small Faster R-CNN is trained on a COCO-format folder without attention; from its checkpoint, runs of
equal length follow, for each seed:

- ``plain``: no attention
- ``identity``: CBAM in backbone and FPN, ``start='identity'``
- ``paper``: the same with ``start='paper'``
- ``adapter``: as ``identity``, with the detector frozen: only attention is trained

Each is evaluated before its first step and after its last. Finished runs are kept in the work
directory, so that a stopped benchmark continues there; every run is a process of its own.
"""

import argparse
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

from mmattn.files import write_file

BASE = 'base'
ARMS = ('plain', 'identity', 'paper', 'adapter')
CONFIG = 'configs/faster_rcnn/faster-rcnn_r18_fpn_folder.py'
SITES = ['backbone.layer[1-4].*.residual', 'neck.fpn_convs.*']
METRICS = ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75')
# Small enough for processors: what counts is that all arms have the same.
SMALL = {
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
    'model.backbone.init_cfg': None,
    'model.roi_head.bbox_head.fc_out_channels': 256,
    'model.train_cfg.rcnn.sampler.num': 128,
    'model.train_cfg.rpn_proposal.max_per_img': 300,
    'model.test_cfg.rpn.max_per_img': 300,
    'default_hooks.checkpoint.interval': 1000,
    'default_hooks.logger.interval': 20,
}


def parse_args():
    parser = argparse.ArgumentParser(description='Fine-tune with new attention, by its start')
    parser.add_argument('--data-root', required=True, help='folder in COCO format')
    parser.add_argument('--work-dir', default='work_dirs/start')
    parser.add_argument('--out', help='JSON with the figures (default: in the work directory)')
    parser.add_argument('--arms', nargs='+', choices=ARMS, default=ARMS)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--size', type=int, default=192, help='longer side of the pictures')
    parser.add_argument('--base-epochs', type=int, default=8)
    parser.add_argument('--epochs', type=int, default=2, help='of fine-tuning')
    parser.add_argument('--run', nargs=2, metavar=('ARM', 'SEED'), help=argparse.SUPPRESS)
    return parser.parse_args()


def make_config(args, arm, seed):
    """Return the config of one run."""
    from mmattn.engine import load_config

    cfg = load_config(CONFIG, args.data_root, SMALL)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for step in loader.dataset.pipeline:
            if step.type == 'Resize':
                step.scale = (args.size, args.size)
    base = arm == BASE
    epochs = args.base_epochs if base else args.epochs
    # From scratch everything is trained; fine-tuning has MMDetection's defaults.
    cfg.model.backbone.update(frozen_stages=-1 if base else 1, norm_eval=not base)
    cfg.optim_wrapper.optimizer.lr = 5e-4 if base else 1e-4
    cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
        dict(type='CosineAnnealingLR', T_max=epochs, by_epoch=True, convert_to_iter_based=True),
    ]
    cfg.randomness = dict(seed=seed)
    cfg.work_dir = str(run_dir(args, arm, seed))
    if not base:
        cfg.load_from = str(run_dir(args, BASE, 0) / f'epoch_{args.base_epochs}.pth')
    if arm in ('identity', 'paper', 'adapter'):
        start = 'paper' if arm == 'paper' else 'identity'
        cfg.model.update(
            type='mmattn.WithAttention',
            detector=cfg.model.type,
            insert=[dict(at=SITES, block=dict(type='mmattn.CBAM', start=start))],
        )
    if arm == 'adapter':
        cfg.model.freeze_detector = True
    return cfg


def run_dir(args, arm, seed):
    return Path(args.work_dir) / f'{arm}_seed{seed}'


def evaluate(cfg):
    """Return the metrics of the model that ``cfg`` builds and loads, and a hash of its predictions."""
    from mmdet.evaluation import DumpDetResults
    from mmengine.runner import Runner

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'predictions.pkl')
        runner = Runner.from_cfg(cfg)
        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=path))
        metrics = runner.test()
        with open(path, 'rb') as file:
            samples = pickle.load(file)
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda each: each['img_id']):
        for key in ('bboxes', 'scores', 'labels'):
            digest.update(sample['pred_instances'][key].numpy().tobytes())
    return dict({name: metrics[f'coco/{name}'] for name in METRICS}, predictions=digest.hexdigest())


def run(args, arm, seed):
    """Train one arm with one seed and write its results."""
    from mmengine.runner import Runner

    cfg = make_config(args, arm, seed)
    results = {}
    if arm != BASE:
        results['before'] = evaluate(cfg.copy())
    runner = Runner.from_cfg(cfg.copy())
    runner.train()
    results['trained'] = sum(p.numel() for p in runner.model.parameters() if p.requires_grad)
    results['iterations'] = runner.iter
    cfg.load_from = str(run_dir(args, arm, seed) / f'epoch_{runner.epoch}.pth')
    results['after'] = evaluate(cfg)
    write_file(run_dir(args, arm, seed) / 'figures.json', json.dumps(results, indent=1))


def figures_of(args, arm, seed):
    path = run_dir(args, arm, seed) / 'figures.json'
    if not path.is_file():
        print(f'{arm}, seed {seed} ...', flush=True)
        own = [sys.executable, __file__, *sys.argv[1:], '--run', arm, str(seed)]
        log = Path(args.work_dir) / f'{arm}_seed{seed}.txt'
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, 'w') as file:
            if subprocess.run(own, stdout=file, stderr=subprocess.STDOUT).returncode:
                raise SystemExit(f'{arm}, seed {seed} failed: see {log}')
    return json.loads(path.read_text())


def main():
    args = parse_args()
    if args.run:
        run(args, args.run[0], int(args.run[1]))
        return
    from machine import describe  # beside this file

    result = dict(
        machine=describe(),
        data=Path(args.data_root).name,
        size=args.size,
        config=CONFIG,
        sites=SITES,
        base=figures_of(args, BASE, 0),
        runs=[
            dict(arm=arm, seed=seed, **figures_of(args, arm, seed))
            for seed in args.seeds
            for arm in args.arms
        ],
    )
    out = Path(args.out or Path(args.work_dir) / 'start.json')
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, json.dumps(result, indent=1) + '\n')
    print(f'written: {out}')


if __name__ == '__main__':
    main()
