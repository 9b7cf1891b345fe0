"""Make a run that was killed and resumed end with the same bits as one that was never interrupted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, get_world_size
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader, IterableDataset

from mmattn._private_apis import (
    accumulated_gradients,
    decide_val_interval,
    is_resuming,
    restart_sampler,
)
from mmattn.checkpoints.state import RESUME_RECORD
from mmattn.engine.numbered_batches import NumberedBatches, number_batches, set_epoch
from mmattn.engine.pipeline_state import GENERATORS, transforms_that_remember
from mmattn.engine.seeds import seed_at, seed_generators
from mmattn.hooks._checks import require_bool
from mmattn.hooks.checkpoint_hook import CheckpointHook
from mmattn.hooks.unsaved_state import gather_unsaved, restore_unsaved
from mmattn.registry import HOOKS

_LOOPS = (EpochBasedTrainLoop, IterBasedTrainLoop)


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make a run that was killed and resumed end with the same bits as one that was never interrupted.

    Everything random in a training step becomes a function of the seed, the iteration and the rank, and
    everything random in a sample a function of the seed, the iteration and the sample's index. So no state
    of a generator has to be saved. A resumed run also starts at the right batch, in the middle of an epoch
    too; evaluates first if it was killed before it had evaluated; and has back what MMEngine does not save.

    It holds for runs of one seed, number of processes, batch size and version of PyTorch on one machine,
    with any number of workers. See docs/resume.md for what cannot be resumed exactly.

    The tools of this package add it by themselves, with ``strict=False``; ``exact_resume = False`` in the
    config leaves it out. For other tools, such as MMDetection's, write::

        default_hooks = dict(checkpoint=dict(type='mmattn.CheckpointHook', interval=1))
        custom_hooks = [dict(type='mmattn.ExactResumeHook')]

    Args:
        strict: True to refuse a run that cannot be resumed exactly, False to warn.

    Raises:
        ValueError: Before training, if ``strict`` is true and the run cannot be resumed exactly; the message
            names the reasons.
    """

    priority = 'VERY_HIGH'  # before what draws random numbers

    def __init__(self, strict: bool = True):
        require_bool(self, 'strict', strict)
        self.strict = strict
        self._seed: int | None = None  # None when nothing trains
        self._record: dict[str, Any] | None = None
        self._resumed = self._lacks_optimizer = False
        self._evaluated: tuple[int, int] | None = None
        self._unsaved: list[dict] | None = None
        self._may_evaluate = False
        self._skip = 0
        self._epoch_begun = 0

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if is_resuming(runner):
            self._resumed, self._record = True, checkpoint.get(RESUME_RECORD)
            self._lacks_optimizer = 'optimizer' not in checkpoint

    def before_train(self, runner: Runner) -> None:
        self._seed = _from_rank_0(runner.seed)
        reasons = _reasons(runner)
        if self._resumed:
            reasons += _changes(runner, self._record)
            if self._lacks_optimizer:
                reasons.append('the checkpoint has no state of the optimizer')
        self._tell(reasons)
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook):
                hook.exact = self
        record = self._record or {}
        loader = runner.train_dataloader
        for sampler, seed in zip(_samplers(runner), record.get('sampler_seeds', ())):
            sampler.seed = seed  # a run without a seed in its config has the checkpoint's from here on
        for sampler in _samplers(runner):
            restart_sampler(sampler)  # MMEngine before 0.10.12 has started the workers already
        loop = runner.train_loop
        if not _is_numbered(loader) or not isinstance(loop, _LOOPS):
            return
        numbered = number_batches(loader, self._seed, lambda: loop.iter)
        self._skip = record.get('skip', 0)
        self._go_on(loop, numbered)
        if len(record.get('unsaved') or ()) == get_world_size():
            restore_unsaved(runner, record['unsaved'][runner.rank])
        self._may_evaluate = bool(self._resumed and record and not record['evaluated'])

    def _go_on(self, loop: EpochBasedTrainLoop | IterBasedTrainLoop, numbered: NumberedBatches) -> None:
        """Let the loop's next batch be the one after the last that the run has had."""
        if isinstance(loop, IterBasedTrainLoop):
            rounds = numbered.go_to(loop.iter) if loop.iter else 0
            unwanted = 0 if hasattr(loop.dataloader_iterator, 'skip_iter') else loop.iter
            loop.dataloader_iterator = _BatchesFrom(loop.dataloader, rounds, unwanted)
        elif loop.iter:
            if _remembers(numbered.sampler):
                numbered.go_to(loop.iter - self._skip)
                numbered.begin_round()
            numbered.skip(self._skip)

    def before_train_epoch(self, runner: Runner) -> None:
        self._evaluate_first(runner)
        self._epoch_begun, self._skip = runner.iter - self._skip, 0
        seed_generators(seed_at(self._seed, 'epoch', runner.epoch, runner.rank), get_device())

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._evaluated = None
        seed_generators(seed_at(self._seed, 'step', runner.iter, runner.rank), get_device())

    def after_train_epoch(self, runner: Runner) -> None:
        self._epoch_begun = runner.iter

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._seed is not None:
            seed_generators(seed_at(self._seed, 'val', batch_idx, runner.rank), get_device())

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        if self._seed is not None:
            self._evaluated = (runner.epoch, runner.iter)

    def after_train(self, runner: Runner) -> None:
        self._evaluate_first(runner)  # a run that was killed in its last evaluation

    def may_save(self, runner: Runner) -> bool:
        """True if no accumulated gradients wait for the optimizer, so that a checkpoint has all there is."""
        return _is_complete(runner)

    def before_saving(self, runner: Runner) -> None:
        """Get what the processes have beside the next checkpoint; called in all, unlike MMEngine's hooks."""
        self._unsaved = gather_unsaved(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._seed is None:
            return
        unsaved, self._unsaved = self._unsaved, None
        checkpoint[RESUME_RECORD] = dict(
            seed=self._seed,
            skip=checkpoint['meta']['iter'] - self._epoch_begun,
            sampler_seeds=[sampler.seed for sampler in _samplers(runner)],
            evaluated=self._evaluated == (runner.epoch, runner.iter),
            complete=_is_complete(runner),
            optimizer=type(getattr(runner.optim_wrapper, 'optimizer', None)).__name__,
            unsaved=gather_unsaved(runner) if unsaved is None and get_world_size() == 1 else unsaved,
            **_setting(runner),
        )

    def _evaluate_first(self, runner: Runner) -> None:
        """Evaluate a checkpoint that was saved just before an evaluation, as the killed run would have."""
        if not self._may_evaluate:
            return
        self._may_evaluate = False
        loop = runner.train_loop
        decide_val_interval(loop)
        if isinstance(loop, EpochBasedTrainLoop):
            at, last = loop.epoch, loop.max_epochs
            if self._skip:
                return
        else:
            at, last = loop.iter, loop.max_iters
        due = at % loop.val_interval == 0 or at == last
        if runner.val_loop is None or at < loop.val_begin or not due:
            return
        if isinstance(loop, EpochBasedTrainLoop):
            for hook in runner.hooks:
                if hasattr(hook, 'called_in_train'):  # SyncBuffersHook: they were synchronised, and saved so
                    hook.called_in_train = True
        print_log('The run was killed before it had evaluated this checkpoint: evaluating it', 'current')
        runner.val_loop.run()

    def _tell(self, reasons: list[str]) -> None:
        if not reasons:
            return
        text = f'this run cannot be resumed exactly, to the last bit: {"; ".join(reasons)}'
        if self.strict:
            raise ValueError(
                f'ExactResumeHook: {text}. Mend that, or give the hook strict=False, or leave it out '
                '(exact_resume=False)'
            )
        print_log(f'{text[0].upper()}{text[1:]}. See docs/resume.md', 'current', logging.WARNING)


class _BatchesFrom:
    """The endless iterator of ``IterBasedTrainLoop``, for a batch sampler that has gone to the right batch.

    Args:
        loader: Data loader of the loop.
        rounds: Number of times that the run has been through its data.
        unwanted: Number of batches that the loop asks for in vain: in versions of MMEngine whose iterators
            cannot skip any, all that the run has had.
    """

    def __init__(self, loader: DataLoader, rounds: int, unwanted: int):
        self._loader = loader
        self._rounds = rounds
        self._unwanted = unwanted
        self._batches: Iterator | None = None

    def __iter__(self) -> Iterator:
        return self

    def skip_iter(self, number: int) -> None:
        """Do nothing when MMEngine would skip the batches that the run has had."""

    def __next__(self) -> Any:
        if self._unwanted:
            self._unwanted -= 1
            return None
        if self._batches is None:
            self._batches = iter(self._loader)
        batch = next(self._batches, None)
        if batch is None:
            self._rounds += 1
            set_epoch(self._loader.batch_sampler, self._rounds)
            time.sleep(2)  # as MMEngine, which fears a deadlock of workers
            self._batches = iter(self._loader)
            batch = next(self._batches)
        return batch


def _is_numbered(loader: DataLoader) -> bool:
    """True if the samples of a data loader have indices and come in batches."""
    return loader.batch_sampler is not None and not isinstance(loader.dataset, IterableDataset)


def _optim_wrappers(runner: Runner) -> list[OptimWrapper]:
    wrappers = runner.optim_wrapper
    return list(wrappers.values()) if isinstance(wrappers, OptimWrapperDict) else [wrappers]


def _is_complete(runner: Runner) -> bool:
    return all(each.should_update() for each in _optim_wrappers(runner))


def _reasons(runner: Runner) -> list[str]:
    """What keeps a run of this config from being resumed exactly."""
    loop, loader, reasons = runner.train_loop, runner.train_dataloader, []
    if not isinstance(loop, _LOOPS):
        reasons.append(f'the training loop is {type(loop).__name__}, not one of MMEngine')
    if not _is_numbered(loader):
        reasons.append(f'{type(loader.dataset).__name__} cannot be asked for a sample by its index')
    remember = transforms_that_remember(loader.dataset)
    if remember:
        reasons.append(
            f'{", ".join(remember)} in train_dataloader keep images of earlier samples; Mosaic and MixUp '
            'without a cache do not'
        )
    if any(isinstance(hook, EarlyStoppingHook) for hook in runner.hooks):
        reasons.append('EarlyStoppingHook counts evaluations, and the count is not in checkpoints')
    others = [
        type(hook).__name__
        for hook in runner.hooks
        if isinstance(hook, MMEngineCheckpointHook) and not isinstance(hook, CheckpointHook)
    ]
    if others and get_world_size() > 1:
        reasons.append(f"{others[0]} does not save each process's norms; mmattn.CheckpointHook does")
    if others and any(accumulated_gradients(each) > 1 for each in _optim_wrappers(runner)):
        reasons.append(f'{others[0]} may save between two accumulated gradients; mmattn.CheckpointHook waits')
    return reasons


def _changes(runner: Runner, record: dict | None) -> list[str]:
    """What keeps a run from going on exactly from this checkpoint."""
    if record is None:
        return ['the checkpoint was saved without ExactResumeHook']
    changes = [
        f'{name.replace("_", " ")}: {record[name]} in the checkpoint, {now} here'
        for name, now in _setting(runner).items()
        if record.get(name) != now
    ]
    if not record['complete']:
        changes.append('the checkpoint was saved between two accumulated gradients')
    if record['world_size'] > 1 and record['unsaved'] is None:
        changes.append('the checkpoint has the norms of rank 0 only')
    return changes


def _setting(runner: Runner) -> dict[str, Any]:
    """What must be the same when the run goes on."""
    loader = runner.train_dataloader
    return dict(
        world_size=get_world_size(),
        samples=len(loader.dataset),
        batch_size=getattr(loader.batch_sampler, 'batch_size', None),
        device=get_device(),
        torch=str(torch.__version__),
    )


def _samplers(runner: Runner) -> list:
    """The samplers of the training data that have a seed."""
    loader = runner.train_dataloader
    found = [loader.sampler, getattr(loader.batch_sampler, 'sampler', None)]
    unique = list({id(sampler): sampler for sampler in found}.values())
    return [sampler for sampler in unique if hasattr(sampler, 'seed')]


def _remembers(sampler: Any) -> bool:
    """True if the order of an epoch depends on the epochs before, not on ``set_epoch`` alone."""
    return type(sampler).__name__ == 'CustomSampleSizeSampler' or any(
        isinstance(each, GENERATORS) for each in vars(sampler).values()
    )


def _from_rank_0(seed: int) -> int:
    """The seed of rank 0: with ``diff_rank_seed``, each process has its own."""
    seeds = [seed]
    broadcast_object_list(seeds)
    return seeds[0]
