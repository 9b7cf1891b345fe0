"""Say what a study would cost before it runs: parameters, operations, hours, disk."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.runner.utils import calc_dynamic_intervals
from rich.table import Table
from torch import Tensor, nn

from mmattn.checkpoints import load_checkpoints
from mmattn.cost import model_cost
from mmattn.engine.init_weights import init_weights_quietly
from mmattn.engine.mistakes import BUILD_ERRORS, user_input
from mmattn.study.config import Study, Variant
from mmattn.study.plan import run_config, runs_of
from mmattn.study.progress import duration
from mmattn.study.record import FINISHED, state_of

WARMUP, STEPS = 2, 5
_BYTES_OF_DETECTION, _DETECTIONS = 150, 100  # as JSON, and at most for an image


@dataclass(frozen=True)
class Estimate:
    """What one run of a variant costs.

    Attributes:
        variant: The variant.
        operations: Operations for one image in eval mode.
        attention_operations: Those of attention among them.
        saved_bytes: What a training step keeps of one image for its backward pass, in full precision.
        size: Height and width of the images for which they are counted.
        step_seconds: Median duration of a training step, loading included; or what was given for it.
        image_seconds: Duration of the evaluation of an image, without COCO's matching.
        iterations: Number of steps.
        images: Number of images in all evaluations.
        disk_bytes: What the run leaves: its checkpoints, and detections if there are 100 in every image.
    """

    variant: Variant
    operations: int
    attention_operations: int
    saved_bytes: int
    size: tuple[int, int]
    step_seconds: float
    image_seconds: float
    iterations: int
    images: int
    disk_bytes: int

    @property
    def seconds(self) -> float:
        """Duration of a run."""
        return self.iterations * self.step_seconds + self.images * self.image_seconds


def estimate_study(study: Study, step_seconds: float | None = None) -> Iterator[Estimate]:
    """Time a few steps of each variant, one after the other, on this machine.

    Nothing is left of it on the disk.

    Args:
        study: The study.
        step_seconds: Duration of a training step on another machine, for which the study is; then nothing
            is timed, and an image of the evaluation takes a third of one in training.
    """
    for variant in study.variants:
        with tempfile.TemporaryDirectory() as folder, user_input(f'{variant.name!r}', BUILD_ERRORS):
            yield _estimate(
                variant,
                run_config(variant.config, study.seeds[0]),
                folder,
                study.keep_detections == 'all',
                step_seconds,
            )


def _estimate(
    variant: Variant, cfg: Config, folder: str, keep_all: bool, step_seconds: float | None
) -> Estimate:
    cfg.work_dir = folder
    # MMEngine keeps runners and visualizers by their names
    cfg.experiment_name = os.path.basename(folder)
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name, vis_backends=[])
    with load_checkpoints(False):
        runner = Runner.from_cfg(cfg)
        init_weights_quietly(runner.model)
    model = runner.model
    loaders = [cfg.train_dataloader, cfg.val_dataloader]
    if step_seconds is not None:
        loaders = [_without_workers(each) for each in loaders]
    training, validation = (Runner.build_dataloader(each, seed=runner.seed) for each in loaders)
    if step_seconds is None:
        optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        step, size = _time_steps(
            model, training, lambda batch: model.train().train_step(batch, optim_wrapper)
        )
        with torch.no_grad():
            batch, _ = _time_steps(model, validation, lambda batch: model.eval().val_step(batch))
        image = batch / (validation.batch_size or 1)
    else:
        optim_wrapper = _stepped_optimizer(runner)
        step, size = step_seconds, _image_size(model, next(iter(training)))
        image = step / (cfg.train_dataloader.get('batch_size') or 1) / 3
    evaluations = number_of_evaluations(cfg.train_cfg)
    images = len(validation.dataset)
    kept = _bytes(model.state_dict().values()) + _bytes(optim_wrapper.state_dict())
    kept_checkpoints = (cfg.default_hooks.get('checkpoint') or {}).get('max_keep_ckpts', 1)
    detections = images * _DETECTIONS * _BYTES_OF_DETECTION * (evaluations + 1 if keep_all else 1)
    cost = model_cost(model, size)
    return Estimate(
        variant,
        cost.ops.total(),
        cost.attention_ops(),
        cost.saved_bytes(),
        size,
        step,
        image,
        cfg.train_cfg.get('max_iters') or cfg.train_cfg.max_epochs * len(training),
        images * evaluations,
        kept * kept_checkpoints + detections,
    )


def _without_workers(loader: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a dataloader that is asked for a batch at most."""
    kept = {key: loader[key] for key in loader if key not in ('persistent_workers', 'prefetch_factor')}
    return kept | dict(num_workers=0)


def _stepped_optimizer(runner: Runner) -> OptimWrapper:
    """Return an optimizer that has made a step, so that it has all that a checkpoint keeps of it.

    It is one for full precision, which a machine without a GPU has too.
    """
    given = dict(runner.optim_wrapper)
    keys = {'optimizer', 'paramwise_cfg', 'constructor'} & given.keys()
    optim_wrapper = runner.build_optim_wrapper(dict(type='OptimWrapper') | {key: given[key] for key in keys})
    for parameter in runner.model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optim_wrapper.step()
    optim_wrapper.zero_grad()
    return optim_wrapper


def _time_steps(model: nn.Module, loader: Any, step: Any) -> tuple[float, tuple[int, int]]:
    """Return the median duration of a step with its loading, and the size of the images that it gets."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    seconds, batches = [], iter(loader)
    for number in range(WARMUP + STEPS):
        wait()
        began = time.perf_counter()
        batch = next(batches, None)
        if batch is None:  # of a small data set
            batches = iter(loader)
            batch = next(batches)
        step(batch)
        wait()
        if number >= WARMUP:
            seconds.append(time.perf_counter() - began)
    return median(seconds), _image_size(model, batch)


def _image_size(model: nn.Module, batch: Any) -> tuple[int, int]:
    return tuple(model.data_preprocessor(batch, False)['inputs'].shape[-2:])


def number_of_evaluations(train_cfg: Mapping[str, Any]) -> int:
    """Return how often a training loop of MMEngine evaluates."""
    last = train_cfg.get('max_epochs') or train_cfg['max_iters']
    milestones, intervals = calc_dynamic_intervals(
        train_cfg.get('val_interval', 1), train_cfg.get('dynamic_intervals')
    )
    begin = train_cfg.get('val_begin', 1)
    at = {last} if last >= begin else set()
    for start, end, interval in zip(milestones, [*milestones[1:], last + 1], intervals):
        at |= {step for step in range(max(start, 1), end) if step % interval == 0 and step >= begin}
    return len(at)


def _bytes(values: Any) -> int:
    """The bytes of all tensors in nested dicts and lists."""
    if isinstance(values, Tensor):
        return values.numel() * values.element_size()
    if isinstance(values, dict):
        values = values.values()
    elif isinstance(values, (str, int, float, type(None))):
        return 0
    return sum(map(_bytes, values))


def estimate_tables(
    study: Study,
    estimates: Sequence[Estimate],
    work_dir: str | os.PathLike,
    workers: int,
    timed: bool = True,
) -> Iterator[Table | str]:
    """Yield a table of what each variant costs, and what the study still costs.

    Args:
        study: The study.
        estimates: What :func:`estimate_study` yields.
        work_dir: Folder of the study.
        workers: Number of runs at a time.
        timed: Whether steps were timed.
    """
    table = Table(title=f'{study.name}: a run of each variant', title_justify='left')
    for column in (
        'variant',
        'as',
        'parameters',
        'attention',
        'G operations',
        'attention',
        'MB kept',
        'steps',
        's a step',
        'a run',
    ):
        table.add_column(column, justify='left' if column in ('variant', 'as') else 'right')
    for each in estimates:
        table.add_row(
            each.variant.name,
            each.variant.role.replace('_', ' '),
            f'{each.variant.parameters:,}',
            f'{each.variant.attention:,}',
            f'{each.operations / 1e9:.3f}',
            f'{each.attention_operations / 1e9:.3f}',
            f'{each.saved_bytes / 1e6:,.0f}',
            f'{each.iterations:,}',
            f'{each.step_seconds:.3f}',
            duration(each.seconds),
        )
    yield table
    by_name = {each.variant.name: each for each in estimates}
    runs = runs_of(study, work_dir)
    left = [run for run in runs if state_of(run.folder) != FINISHED]
    seconds = sum(by_name[run.variant].seconds for run in left) / workers
    disk = sum(by_name[run.variant].disk_bytes for run in left)
    folder = next(
        each for each in [Path(work_dir).absolute(), *Path(work_dir).absolute().parents] if each.exists()
    )
    height, width = estimates[0].size
    steps = (
        'Steps are timed one run at a time, loading included.'
        if timed
        else 'Nothing was timed: a step takes what you said, the evaluation of as many images a third.'
    )
    yield (
        'Operations, and what is kept for the backward pass in full precision, are those of one image of '
        f'{height}x{width}.\n{steps}\n'
        f'{len(runs)} runs, {len(runs) - len(left)} of them finished: about {duration(seconds)} left with '
        f'{workers} at a time, and at most {disk / 1e9:.1f} GB of disk, of which {folder} has '
        f'{shutil.disk_usage(folder).free / 1e9:.1f} GB free'
    )
    yield from study.notes
