"""Measure what ExactResumeHook adds to a training step, and write the table into docs/resume.md.

python benchmarks/exact_resume.py           measure, write results/exact_resume.json and the page
python benchmarks/exact_resume.py --page    the page again, from the file
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

from pages import run, with_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/exact_resume.json'
PAGE = ROOT / 'docs/resume.md'
BEGIN, END = '<!-- benchmarks/exact_resume.py -->', '<!-- end -->'
CONFIG = 'configs/cbam/faster-rcnn_r18-cbam_fpn_folder.py'
BATCH, SIZE, CALLS = 2, 256, 500


def processor_times(functions, repeats):
    """Time functions in rounds, every second one backwards, by the processor's time for this process.

    A hundredth of a step is less than what other processes of the machine do to the time on the clock.
    """
    seconds = {name: [] for name in functions}
    for number in range(-1, repeats):
        for name in list(functions)[:: 1 if number % 2 else -1]:
            start = time.process_time()
            functions[name]()
            if number >= 0:
                seconds[name].append(time.process_time() - start)
    return seconds


def measure(repeats):
    """Time training steps, loading included, without and with the hook; and what it does, alone."""
    import torch
    from mmdet.utils import register_all_modules
    from mmengine.optim import OptimWrapper
    from mmengine.registry import MODELS
    from mmengine.runner import Runner

    from mmattn.datasets import ShapesSettings, make_shapes
    from mmattn.engine import load_config
    from mmattn.engine.numbered_batches import NumberedBatch, SeededSamples, number_batches
    from mmattn.hooks import ExactResumeHook

    register_all_modules()
    with tempfile.TemporaryDirectory() as folder:
        make_shapes(Path(folder) / 'shapes', ShapesSettings(train=BATCH * 4, val=1), workers=1)
        cfg = load_config(str(ROOT / CONFIG), str(Path(folder) / 'shapes'))
        cfg.model.backbone.init_cfg = None
        loader = cfg.train_dataloader
        loader.update(num_workers=0, persistent_workers=False, batch_size=BATCH, batch_sampler=None)
        loader.sampler.shuffle = False
        for transform in loader.dataset.pipeline:
            if transform.type == 'RandomFlip':
                transform.prob = 0.0  # both see the same images
            elif transform.type == 'Resize':
                transform.scale = (SIZE, SIZE)
        model = MODELS.build(cfg.model).train()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.0, momentum=0.9)
        wrapper = OptimWrapper(optimizer)
        runner = SimpleNamespace(iter=0, rank=0)
        hook = ExactResumeHook()
        hook._seed = 0
        plain, exact = (Runner.build_dataloader(loader, seed=0) for _ in range(2))
        number_batches(exact, 0, lambda: runner.iter)

        def steps(loader, hook=None):
            while True:
                for data in loader:
                    if hook:
                        hook.before_train_iter(runner, 0)
                    model.train_step(data, wrapper)
                    runner.iter += bool(hook)
                    yield

        def seed():
            for _ in range(CALLS):
                hook.before_train_iter(runner, 0)

        nothing = SeededSamples({index: index for index in range(BATCH)}, 0)

        def samples():
            for _ in range(CALLS):
                nothing(NumberedBatch(range(BATCH), 0))

        one, other = steps(plain), steps(exact, hook)
        times = processor_times(
            dict(plain=lambda: next(one), exact=lambda: next(other), seed=seed, samples=samples), repeats
        )
    return dict(
        config=CONFIG,
        batch=BATCH,
        size=SIZE,
        plain=times['plain'],
        exact=times['exact'],
        ratio=median(b / a for a, b in zip(times['plain'], times['exact'])),
        step_seconds=median(times['plain']),
        seeding_seconds=median(times['seed']) / CALLS,
        sample_seconds=median(times['samples']) / CALLS / BATCH,
    )


def page(results):
    """Return the page with the table of these results."""
    found, machine = results['steps'], results['machine']
    alone = (found['seeding_seconds'] + found['batch'] * found['sample_seconds']) / found['step_seconds']
    lines = [
        '| a training step, loading included | |',
        '|---|---|',
        f'| with the hook, against without | x{found["ratio"]:.3f} |',
        f'| seeding a step | {found["seeding_seconds"] * 1e6:.0f} µs |',
        f'| seeding a sample, in its worker | {found["sample_seconds"] * 1e6:.0f} µs |',
        f'| both, of the step of {found["step_seconds"] * 1e3:.0f} ms | {alone:.2%} |',
        '',
        f'Faster R-CNN R18 with CBAM, batch {found["batch"]}, {found["size"]} pixels, one process.',
        'Processor time; the first line is the median ratio of '
        f'{len(found["plain"])} interleaved pairs of steps;',
        f'{machine["processor"]}, one thread, torch {machine["versions"]["torch"]}.',
    ]
    return with_text(PAGE.read_text(encoding='utf-8'), BEGIN, END, '\n'.join(lines))


if __name__ == '__main__':
    run(vars(), lambda repeats: dict(steps=measure(repeats)), repeats=25)
