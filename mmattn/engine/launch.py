"""Train and test from a config file: what ``tools/train.py`` and ``tools/test.py`` call."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from mmattn.checkpoints import has_loader, load_checkpoints, read_checkpoint
from mmattn.checkpoints.damage import checkpoint_to_resume, checkpoints_before, damage_of
from mmattn.checkpoints.fit import require_fit, require_weights_for
from mmattn.checkpoints.run_state import require_run
from mmattn.engine.check_config import check_config
from mmattn.engine.check_schedule import warn_of_late_milestones
from mmattn.engine.check_weights import (
    check_teachers,
    check_weights,
    require_pretrained_fit,
    require_teacher_fit,
    take_pretrained_from_checkpoint,
)
from mmattn.engine.data import loading_explained, prepare_data
from mmattn.engine.data_root import load_config, require_model
from mmattn.engine.distributed import prepare_processes, read_ranks
from mmattn.engine.early_log import EarlyLog
from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_file, require_writable_folder
from mmattn.engine.whole_files import use_whole_files
from mmattn.files import DiskFull, disk_full, is_disk_full


@user_input()
def train(
    config: str,
    work_dir: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    resume: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    data_root: str | None = None,
    trust_checkpoint: bool = False,
    drop_bad_images: bool = False,
) -> Runner:
    """Train a detector; the arguments are the options of ``tools/train.py``.

    Returns:
        MMEngine's runner after training.
    """
    with EarlyLog() as log:
        cfg = _prepare(config, data_root, cfg_options, launcher, work_dir)
        content = _configure_training(
            cfg, config, amp, auto_scale_lr, resume, trust_checkpoint, drop_bad_images
        )
        with load_checkpoints(trust_checkpoint), loading_explained(cfg, ('train', 'val')):
            runner = _build_runner(cfg)
            log.write_to(runner.logger)
            if isinstance(runner, Runner):  # a FlexibleRunner has no model yet
                require_teacher_fit(runner.model, cfg, trust_checkpoint)
                take_pretrained_from_checkpoint(runner, trust_checkpoint)
                if content is not None:
                    require_weights_for(runner.model, content, f"'{cfg.load_from}' (load_from)")
                elif not (cfg.get('load_from') or cfg.get('resume')):
                    require_pretrained_fit(runner.model, trust_checkpoint)
                del content
            try:
                runner.train()
            except OSError as error:
                if is_disk_full(error):
                    raise _disk_full_in_training(error, cfg.work_dir) from error
                raise
    return runner


def _configure_training(
    cfg: Config,
    config: str,
    amp: bool,
    auto_scale_lr: bool,
    resume: str | None,
    trust_checkpoint: bool,
    drop_bad_images: bool,
) -> Mapping[str, Any] | None:
    """Check what the options and the config ask for, and write into the config what follows.

    Returns:
        The content of the checkpoint that training starts from, unless it is resumed or not a local file.
    """
    if amp:
        if get_device() == 'cpu':
            raise ValueError(
                '--amp was asked for, but this machine has no GPU (or hides it with '
                "CUDA_VISIBLE_DEVICES), and MMEngine's AmpOptimWrapper needs one. Leave --amp out"
            )
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if auto_scale_lr:
        scale = cfg.get('auto_scale_lr') or {}
        if 'base_batch_size' not in scale:
            raise ValueError(
                f'--auto-scale-lr was asked for, but {config} does not state the batch size of its '
                'learning rate: add auto_scale_lr=dict(enable=False, base_batch_size=16)'
            )
        cfg.auto_scale_lr.enable = True
    what = '--resume' if resume is not None else 'resume=True'
    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'  # as MMEngine reads it
    if resume == 'auto':
        _resume_latest(cfg, what)
    elif resume is not None:
        cfg.resume, cfg.load_from = True, resume
    _check_whole(resume, what)
    content = _check_checkpoint(
        cfg.get('load_from'), what if resume is not None else 'load_from', trust_checkpoint, cfg.get('resume')
    )
    warn_of_late_milestones(cfg)
    _prepare_data(cfg, ('train', 'val'), drop_bad_images)
    check_teachers(cfg)
    if not (cfg.get('load_from') or cfg.get('resume')) and read_ranks(cfg.launcher).local_rank == 0:
        check_weights(cfg)
    prepare_processes(cfg)
    _keep_last_checkpoint(cfg)
    if cfg.get('exact_resume', True):
        _add_hook(cfg, 'mmattn.ExactResumeHook', strict=False)
    return None if cfg.get('resume') else content


@user_input()
def test(
    config: str,
    checkpoint: str,
    work_dir: str | None = None,
    out: str | None = None,
    show: bool = False,
    show_dir: str | None = None,
    wait_time: float = 2,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    tta: bool = False,
    data_root: str | None = None,
    trust_checkpoint: bool = False,
    drop_bad_images: bool = False,
) -> dict[str, float]:
    """Evaluate a checkpoint, or an ``.onnx`` file of ``tools/export.py``; arguments as in ``tools/test.py``.

    Returns:
        The metrics.
    """
    if out is not None and not out.endswith(('.pkl', '.pickle')):
        raise ValueError(f"--out was '{out}': predictions are written as .pkl or .pickle")
    with EarlyLog() as log:
        cfg = _prepare(config, data_root, cfg_options, launcher, work_dir)
        if out is not None and '://' not in out:
            require_writable_file(out, '--out')
        if show_dir:
            require_writable_folder(os.path.join(cfg.work_dir, show_dir), '--show-dir')
        exported = checkpoint.endswith('.onnx')
        content = None
        if exported:
            _take_exported(cfg, checkpoint)
        else:
            content = _check_checkpoint(checkpoint, 'the checkpoint', trust_checkpoint)
            cfg.load_from = checkpoint
        if show or show_dir:
            from mmdet.engine.hooks.utils import trigger_visualization_hook

            trigger_visualization_hook(
                cfg, SimpleNamespace(show=show, show_dir=show_dir, wait_time=wait_time)
            )
        _prepare_data(cfg, ('test',), drop_bad_images)
        if tta:
            _set_tta(cfg)
        prepare_processes(cfg)
        with load_checkpoints(trust_checkpoint), loading_explained(cfg, ('test',)):
            runner = _build_runner(cfg)
            log.write_to(runner.logger)
            if content is not None and isinstance(runner, Runner):  # a FlexibleRunner has no model yet
                require_fit(runner.model, content, checkpoint)
            del content  # a second copy of all weights
            if exported:
                model = getattr(runner.model, 'module', runner.model)  # of test-time augmentation
                model.require_classes(runner.test_loop.dataloader.dataset.metainfo['classes'])
            if out is not None:
                from mmdet.evaluation import DumpDetResults

                runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=out))
            return runner.test()


def _prepare(
    config: str,
    data_root: str | None,
    cfg_options: Mapping[str, Any] | None,
    launcher: str,
    work_dir: str | None,
) -> Config:
    from mmdet.utils import setup_cache_size_limit_of_dynamo

    setup_cache_size_limit_of_dynamo()
    use_whole_files()
    cfg = load_config(config, data_root, cfg_options)
    require_model(cfg, config)
    check_config(cfg)
    cfg.launcher = launcher
    # As in MMDetection: the command line's, else the config's own, else named after the file.
    name = os.path.splitext(os.path.basename(config))[0]
    cfg.work_dir = work_dir or cfg.get('work_dir') or os.path.join('./work_dirs', name)
    require_writable_folder(cfg.work_dir, '--work-dir')
    _add_hook(cfg, 'mmattn.CheckInsertionHook')
    _add_hook(cfg, 'mmattn.CheckDataHook')
    return cfg


def _add_hook(cfg: Config, hook_type: str, **options: Any) -> None:
    """Add a hook to those of the config, unless it is among them."""
    hooks = list(cfg.get('custom_hooks') or [])
    if not any(isinstance(hook, dict) and hook.get('type') == hook_type for hook in hooks):
        cfg.custom_hooks = [*hooks, dict(type=hook_type, **options)]


def _keep_last_checkpoint(cfg: Config) -> None:
    """Let our hook save the checkpoints: it removes an old one only when a new one is there."""
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = {}
    cfg.default_hooks.setdefault('checkpoint', dict(type='CheckpointHook'))
    hook = cfg.default_hooks.checkpoint  # a copy of what was set
    if isinstance(hook, dict) and hook.get('type') in ('CheckpointHook', 'mmengine.CheckpointHook'):
        hook['type'] = 'mmattn.CheckpointHook'


def _disk_full_in_training(error: OSError, work_dir: str) -> DiskFull:
    last = find_latest_checkpoint(work_dir)
    go_on = f'go on with --resume, from {last}' if last else 'start again'
    text = error if isinstance(error, DiskFull) else disk_full(str(error), work_dir)
    return DiskFull(error.errno, f'{text}, and {go_on}')


def _resume_latest(cfg: Config, what: str) -> None:
    """Resume from the latest checkpoint of the work directory; without one, start as configured."""
    latest = checkpoint_to_resume(cfg.work_dir)
    if latest is None:
        start = cfg.get('load_from') or 'the start'
        print_log(
            f'{what}: no checkpoint in {cfg.work_dir} yet, training starts from {start}', logger='current'
        )
        cfg.resume = False
    else:
        cfg.resume, cfg.load_from = True, latest


def _take_exported(cfg: Config, file: str) -> None:
    """Put an exported file in the place of a config's model, without the hooks for modules and weights."""
    if cfg.launcher != 'none':
        raise ValueError(
            f'--launcher {cfg.launcher}: an .onnx file is evaluated by one process; leave it out'
        )
    # By its full name: engine imports nothing of export.
    cfg.model = ConfigDict(type='mmattn.export.ExportedDetector', _scope_='mmdet', file=file)
    cfg.load_from, cfg.resume = None, False
    cfg.custom_hooks = [dict(type='mmattn.CheckDataHook')]


def _prepare_data(cfg: Config, parts: Sequence[str], drop_bad_images: bool) -> None:
    """Check the data; one process per machine opens images and writes: each machine has its own disk."""
    prepare_data(cfg, parts, read_ranks(cfg.launcher).local_rank == 0, drop_bad_images)


def _check_checkpoint(
    path: str | None, what: str, trust_checkpoint: bool, resume: bool = False
) -> Mapping[str, Any] | None:
    """Read a local checkpoint once before anything is built, which takes longer, and return it."""
    if path is None or has_loader(path):
        return None
    checkpoint = read_checkpoint(path, what, trust_checkpoint)
    if resume:
        try:
            require_run(checkpoint)
        except ValueError as error:
            raise ValueError(f"'{path}' ({what}): {error}") from error
    return checkpoint


def _check_whole(resume: str | None, what: str) -> None:
    """Refuse to resume from a file that is cut off; the latest checkpoint has been looked at already."""
    if resume in (None, 'auto') or not os.path.isfile(resume):
        return
    damage = damage_of(resume)
    if damage and damage.startswith(('is cut off', 'is damaged')):
        before = next((path for path in checkpoints_before(resume) if damage_of(path) is None), None)
        remedy = f'The one before is whole: --resume {before}' if before else 'Name another checkpoint'
        raise ValueError(f"{what}: '{resume}' {damage}. {remedy}")


def _build_runner(cfg: Config) -> Runner:
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _set_tta(cfg: Config) -> None:
    """Configure test-time augmentation as MMDetection's test.py does: image and mirror by default."""
    if 'tta_model' not in cfg:
        warnings.warn('Cannot find ``tta_model`` in config, we will set it as default.', stacklevel=2)
        cfg.tta_model = dict(
            type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
        )
    dataset = cfg.test_dataloader.dataset
    if 'tta_pipeline' not in cfg:
        warnings.warn('Cannot find ``tta_pipeline`` in config, we will set it as default.', stacklevel=2)
        leaf = dataset
        while 'dataset' in leaf:
            leaf = leaf['dataset']
        keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')
        views = dict(
            type='TestTimeAug',
            transforms=[
                [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
                [dict(type='PackDetInputs', meta_keys=keys)],
            ],
        )
        cfg.tta_pipeline = deepcopy(leaf.pipeline)
        cfg.tta_pipeline[-1] = views
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline
