#!/usr/bin/env python
"""Try attention in a model of each OpenMMLab codebase that is installed, and write what works.

    python benchmarks/codebases.py              # all, each in a process of its own
    python benchmarks/codebases.py mmseg        # one; the others stay in the file as they are
    python benchmarks/codebases.py --page       # only write the table of docs/pretraining.md, from the file

Each model is that of a config which its codebase ships, with a ResNet-50, and with CBAM that starts as the
identity at the end of each residual branch. It is trained on generated images for three steps.
"""

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from machine import describe  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.runner import find_latest_checkpoint  # noqa: E402
from pages import with_text, write_page  # noqa: E402

from mmattn.checkpoints import read_checkpoint  # noqa: E402
from mmattn.files import write_file  # noqa: E402
from tests.codebases import import_codebase  # noqa: E402

RESULTS = ROOT / 'benchmarks/results/codebases.json'
PAGE = ROOT / 'docs/pretraining.md'
MARKS = '<!-- benchmarks/codebases.py -->', '<!-- end -->'
BLOCK = dict(type='mmattn.CBAM', start='identity')
SIDE = 64


@dataclass
class Codebase:
    """A codebase, and a config that it ships.

    Attributes:
        title: Its name.
        package: The package that has it.
        base: The config.
        dataset: What its data sets need to read the generated images.
        model: What the model needs for these.
    """

    title: str
    package: str
    base: str
    dataset: dict
    model: dict


CODEBASES = dict(
    mmdet=Codebase(
        'MMDetection',
        'onedl-mmdetection',
        'retinanet/retinanet_r50_fpn_1x_coco.py',
        dict(
            type='CocoDataset',
            ann_file='boxes.json',
            data_prefix=dict(img='images/'),
            metainfo=dict(classes=('square',)),
        ),
        dict(
            bbox_head=dict(num_classes=1),
            # A branch whose last norm is zero, as in a new ResNet, and frozen, has no gradient for its block.
            backbone=dict(init_cfg=None, zero_init_residual=False),
            test_cfg=dict(score_thr=0.0, max_per_img=5),
        ),
    ),
    mmpretrain=Codebase(
        'MMPretrain',
        'onedl-mmpretrain',
        'resnet/resnet50_8xb32_in1k.py',
        dict(type='CustomDataset', data_prefix='classes'),
        dict(head=dict(num_classes=2, topk=(1,))),
    ),
    mmseg=Codebase(
        'MMSegmentation',
        'onedl-mmsegmentation',
        'fcn/fcn_r50b-d8_4xb2-80k_cityscapes-512x1024.py',
        dict(
            type='BaseSegDataset',
            data_prefix=dict(img_path='images', seg_map_path='maps'),
            img_suffix='.png',
            metainfo=dict(classes=('ground', 'square'), palette=[[0, 0, 0], [255, 255, 255]]),
        ),
        dict(
            pretrained=None,
            data_preprocessor=dict(size=(SIDE, SIDE)),
            # instead of SyncBN, which needs GPUs
            backbone=dict(norm_cfg=dict(type='BN')),
            decode_head=dict(num_classes=2, norm_cfg=dict(type='BN')),
            auxiliary_head=dict(num_classes=2, norm_cfg=dict(type='BN')),
        ),
    ),
    mmrotate=Codebase(
        'MMRotate',
        'onedl-mmrotate',
        'rotated_retinanet/rotated-retinanet-rbox-le90_r50_fpn_1x_dota.py',
        dict(type='DOTADataset', ann_file='quadrangles/', data_prefix=dict(img_path='images/')),
        dict(backbone=dict(init_cfg=None, zero_init_residual=False)),
    ),
)


def write_data(folder, count=6):
    """Write noise with a bright square, once for all: as boxes, classes, maps and quadrangles."""
    random = np.random.default_rng(0)
    for each in ('images', 'maps', 'quadrangles', 'classes/left', 'classes/right'):
        (folder / each).mkdir(parents=True)
    listed, annotations = [], []
    for number in range(count):
        image = random.integers(100, 150, (SIDE, SIDE, 3), dtype=np.uint8)
        areas = np.zeros((SIDE, SIDE), np.uint8)
        x, y = (int(v) for v in random.integers(2, SIDE // 2, 2))
        x = x // 2 + number % 2 * SIDE // 4
        for each, value in ((image, 230), (areas, 1)):
            each[y : y + 28, x : x + 28] = value
        name = f'{number}.png'
        cv2.imwrite(str(folder / 'images' / name), image)
        cv2.imwrite(str(folder / 'classes' / ('left', 'right')[number % 2] / name), image)
        cv2.imwrite(str(folder / 'maps' / name), areas)
        corners = f'{x} {y} {x + 28} {y} {x + 28} {y + 28} {x} {y + 28}'
        (folder / f'quadrangles/{number}.txt').write_text(f'{corners} plane 0\n')
        listed.append(dict(id=number, file_name=name, width=SIDE, height=SIDE))
        annotations.append(
            dict(id=number, image_id=number, category_id=1, iscrowd=0, bbox=[x, y, 28, 28], area=784)
        )
    boxes = dict(images=listed, annotations=annotations, categories=[dict(id=1, name='square')])
    (folder / 'boxes.json').write_text(json.dumps(boxes))


def shipped(name):
    """Return the path of the config that a codebase ships."""
    return Path(import_codebase(name).__file__).parent / '.mim/configs' / CODEBASES[name].base


def write_config(name, folder, file):
    """Write the config of a codebase with attention, for the generated images and three steps on a CPU."""
    codebase = CODEBASES[name]
    file.write_text(f"_base_ = '{shipped(name)}'\n")
    cfg = Config.fromfile(file)
    cfg.merge_from_dict(dict(model=codebase.model))
    cfg.model.detector, cfg.model.type = cfg.model.type, 'mmattn.WithAttention'
    cfg.model.insert = [dict(at='backbone.**.residual', block=BLOCK)]
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        pipeline = loader.dataset.pipeline
        for key in ('scale', 'crop_size'):
            for each in pipeline:
                if key in each:
                    # an int is a classifier's: 224, cut out of 256
                    each[key] = each[key] * SIDE // 224 if isinstance(each[key], int) else (SIDE, SIDE)
        loader.dataset = dict(codebase.dataset, data_root=f'{folder}/', pipeline=pipeline)
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        if part != 'train':
            evaluator = cfg[f'{part}_evaluator']
            evaluator.update({key: value for key, value in dict(topk=(1,)).items() if key in evaluator})
            if 'ann_file' in evaluator:
                evaluator.ann_file = f'{folder}/{codebase.dataset["ann_file"]}'
    for key, value in dict(max_iters=3, max_epochs=1, val_interval=3).items():
        if key in cfg.train_cfg:
            cfg.train_cfg[key] = value
    cfg.param_scheduler = []
    # without weight decay a parameter changes by its gradient alone
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
    cfg.randomness = dict(seed=0)
    cfg.dump(file)


class Attempt:
    """What is tried with one codebase, in the order of :data:`TRIED`; each returns what came out."""

    def __init__(self, name, folder):
        import_codebase(name)
        self.name, self.folder, self.config = name, folder, folder / f'{name}.py'
        write_data(folder / 'data')
        write_config(name, folder / 'data', self.config)

    def plain(self):
        from mmattn import detach
        from mmattn.engine import build_model

        return detach(build_model(str(self.config)))

    def base(self):
        file = self.folder / 'base.py'
        file.write_text(f"_base_ = '{self.name}::{CODEBASES[self.name].base}'\n")
        return Config.fromfile(file).model.type and 'yes'

    def sites(self):
        from mmattn.insertion.identity import named_sites

        model = self.plain()
        found = named_sites(model, ['residual'])
        blocks = sum(len(getattr(model.backbone, f'layer{i}')) for i in (1, 2, 3, 4))
        return f'{len(found)} of {blocks}'

    def identity(self):
        from mmattn.insertion.identity import check_identity, randomise

        model = randomise(self.plain()).eval()
        report = check_identity(model, torch.rand(2, 3, SIDE, SIDE + 32), BLOCK, ['residual'])
        return '; '.join(report.problems) or f'{report.maps} of {report.maps}'

    def train(self):
        from mmattn.engine import train

        self.runner = train(str(self.config), str(self.folder / 'run'))
        return f'{self.runner.iter} steps'

    def gradients(self):
        model, batch = self.runner.model, next(iter(self.runner.train_dataloader))
        model.train()
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        model.parse_losses(losses)[0].backward()
        reached = [each.grad is not None and bool(each.grad.any()) for each in model.attention.parameters()]
        return f'{sum(reached)} of {len(reached)}'

    @property
    def checkpoint(self):
        return find_latest_checkpoint(str(self.folder / 'run'))

    def evaluate(self):
        from mmattn.engine import test

        metrics = test(str(self.config), self.checkpoint, str(self.folder / 'test'))
        return f'`{next(iter(metrics))}`'

    def load(self):
        """Weights of the model with attention fit the one without, and the other way round."""
        from mmattn.engine import build_model

        trained = read_checkpoint(self.checkpoint)['state_dict']
        extra = self.plain().load_state_dict(trained, strict=False)
        lacking = build_model(str(self.config)).load_state_dict(self.plain().state_dict(), strict=False)
        found = [*extra.missing_keys, *lacking.unexpected_keys, *extra.unexpected_keys, *lacking.missing_keys]
        others = [each for each in found if not each.startswith('attention.')]
        return f'differ in {others[0]}' if others else 'only `attention.*` differs'

    def detect(self):
        """A detector of MMDetection takes the backbone with its attention, the usual way."""
        from mmengine.registry import MODELS, DefaultScope

        weights = dict(type='Pretrained', checkpoint=self.checkpoint, prefix='backbone.')
        file = self.folder / 'detector.py'
        file.write_text("_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n")
        cfg = Config.fromfile(file).model
        cfg.detector, cfg.type = cfg.type, 'mmattn.WithAttention'
        cfg.insert = [dict(at='backbone.**.residual', block=BLOCK)]
        cfg.backbone.init_cfg = weights
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg)
            model.init_weights()
        theirs = read_checkpoint(self.checkpoint)['state_dict']
        ours = {key: value for key, value in model.state_dict().items() if torch.is_tensor(value)}
        ours = {
            key: value for key, value in ours.items() if key.startswith(('backbone.', 'attention.backbone'))
        }
        same = [key for key, value in ours.items() if key in theirs and theirs[key].equal(value)]
        return f'{len(same)} of {len(ours)}'

    def adapter(self):
        from mmattn.checkpoints import load_adapter, save_adapter

        file = str(self.folder / 'adapter.safetensors')
        save_adapter(self.runner.model, file)
        model = self.plain()
        stock = {
            key: value for key, value in self.runner.model.state_dict().items() if key in model.state_dict()
        }
        model.load_state_dict(stock)
        load_adapter(model, file)
        return f'{len(model.attention)} blocks'

    def list_sites(self):
        from mmattn.cost import site_rows

        return f'{len(site_rows(self.plain(), [], (SIDE, SIDE), ["SE"]))} rows'

    def cost(self):
        from mmattn.cost import not_counted
        from mmattn.cost.compare import compare_configs

        reports = compare_configs([str(self.config)], (SIDE, SIDE), plain_baseline=True)
        if problems := not_counted(reports):
            raise ValueError(problems[0])
        plain, ours = (each.cost.ops.total() for each in reports.values())
        return f'{plain / 1e9:.2f} + {(ours - plain) / 1e9:.3f} G operations'

    def time(self):
        from mmattn.cost.compare import TimingOptions, compare_configs

        compare_configs([str(self.config)], (SIDE, SIDE), timing=TimingOptions(1, 'fp32', 2, 0, 'cpu'))
        return 'yes'

    def show(self):
        from mmattn.visualization import show_detectors

        images, out = str(self.folder / 'data/images/0.png'), str(self.folder / 'shown')
        show_detectors([(str(self.config), self.checkpoint)], images, out_dir=out)
        return 'yes'


TRIED = dict(
    base="`_base_ = 'SCOPE::FOLDER/FILE.py'`",
    sites='residual branches found, of its residual blocks',
    identity='maps that are bit-equal with the identity start',
    train='`tools/train.py`',
    gradients='parameters of blocks with a gradient, after these steps',
    evaluate='`tools/test.py` gives',
    load='checkpoints with and without attention load in each other',
    detect="tensors of backbone and attention that MMDetection's RetinaNet loads from it",
    adapter='adapter saved and loaded',
    list_sites='`tools/sites.py`',
    cost='`tools/cost.py`',
    time='`tools/cost.py --time`',
    show='`tools/show_attention.py`',
)


def try_codebase(name):
    """Return what came out of each attempt with a codebase, or the error's text."""
    found = dict(version=importlib.metadata.version(CODEBASES[name].package), tried={})
    with tempfile.TemporaryDirectory() as folder:
        attempt = Attempt(name, Path(folder))
        for each in TRIED:
            try:
                found['tried'][each] = dict(works=getattr(attempt, each)())
            except Exception as error:
                text = ' '.join(f'{type(error).__name__}: {error}'.split()).replace(folder, 'FOLDER')
                found['tried'][each] = dict(fails=text[:300])
    return found


def measure(names, results):
    """Try each codebase in a process of its own; return all results, those of others as they were."""
    found = dict(results.get('codebases', {}))
    for name in names:
        command = [sys.executable, __file__, '--inside', name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f'{name} was not tried: {done.stderr.strip().splitlines()[-1]}', file=sys.stderr)
            continue
        found[name] = json.loads(done.stdout.splitlines()[-1])
    return dict(machine=describe(), codebases={name: found[name] for name in CODEBASES if name in found})


def wrapped(text, indent=''):
    """Return a text in lines of a page, and those after the first with an indent."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def page(results):
    """Return docs/pretraining.md with the table."""
    found, failures = results['codebases'], []
    lines = [
        '| | ' + ' | '.join(CODEBASES[name].title for name in found) + ' |',
        '|---' * (len(found) + 1) + '|',
        '| version | ' + ' | '.join(each['version'] for each in found.values()) + ' |',
    ]
    for each, title in TRIED.items():
        cells = []
        for name, of_codebase in found.items():
            outcome = of_codebase['tried'][each]
            if 'fails' in outcome:
                failures.append(f'{CODEBASES[name].title}, {title}: `{outcome["fails"]}`')
                cells.append(f'no ({len(failures)})')
            else:
                cells.append(outcome['works'])
        lines.append(f'| {title} | {" | ".join(cells)} |')
    bases = ', '.join(f'`{name}::{CODEBASES[name].base}`' for name in found)
    about = f'The configs: {bases}; torch {results["machine"]["versions"]["torch"]}, on a CPU.'
    listed = [wrapped(f'{number}. {text}', '   ') for number, text in enumerate(failures, 1)]
    lines += ['', *listed, *[''] * bool(listed), wrapped(about)]
    return with_text(PAGE.read_text(encoding='utf-8'), *MARKS, '\n'.join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('names', nargs='*', help=f'of {", ".join(CODEBASES)}; all by default')
    parser.add_argument('--page', action='store_true', help='only write the page, from the file')
    parser.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.names) - set(CODEBASES):
        parser.error(f'{unknown.pop()} is none of {", ".join(CODEBASES)}')
    if args.inside:
        print(json.dumps(try_codebase(args.names[0])))
        return
    results = json.loads(RESULTS.read_text(encoding='utf-8')) if RESULTS.is_file() else {}
    if not args.page:
        results = measure(args.names or CODEBASES, results)
        write_file(RESULTS, json.dumps(results, indent=1) + '\n')
    write_page(PAGE, page(results))


if __name__ == '__main__':
    main()
