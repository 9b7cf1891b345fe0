"""A run resumed from any of its checkpoints ends with the bits of the uninterrupted run."""

import itertools
import pickle
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import Runner
from torch.nn import functional as F
from torch.utils.data import Dataset, IterableDataset, Sampler

from mmattn.checkpoints.state import RESUME_RECORD
from mmattn.hooks import ExactResumeHook, exact_resume_hook

RUNS = itertools.count()


class Shaky(Dataset):
    """Samples with random numbers from every generator, one of its own among them."""

    metainfo = dict(classes=('a',))

    def __init__(self, own=True):
        self.pipeline = [SimpleNamespace(rng=np.random.default_rng(), drawn=random.Random())] if own else []

    def __len__(self):
        return 11

    def __getitem__(self, index):
        value = index + random.random() + np.random.random() + torch.rand(1)
        for each in self.pipeline:
            value = value + each.rng.random() + each.drawn.random()
        return value

    def get_data_info(self, index):
        return dict(width=2 if index % 3 else 1, height=1.5)


class Chance(Sampler):
    """Draws each batch from NumPy's global generator, as mmdet's GroupMultiSourceSampler does."""

    def __init__(self, dataset, seed=None):
        self.dataset = dataset

    def __iter__(self):
        while True:
            yield int(np.random.randint(len(self.dataset)))

    def __len__(self):
        return len(self.dataset)


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 8)
        self.norm = torch.nn.BatchNorm1d(8)

    def forward(self, x, mode='loss'):
        y = F.dropout(self.norm(self.layer(x)), 0.3, self.training)
        return dict(loss=(y + torch.rand(8) * random.random() + np.random.random()).square().mean())

    def train_step(self, data, optim_wrapper):
        with optim_wrapper.optim_context(self):
            loss = self(torch.stack(data))['loss']
        optim_wrapper.update_params(loss)
        return dict(loss=loss)

    def val_step(self, data):
        return [self(torch.stack(data))['loss'].item()]


class Score(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(acc=sum(results))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """No wait between two rounds over the data; the sampler has a name."""
    monkeypatch.setattr(exact_resume_hook, 'time', SimpleNamespace(sleep=lambda _: None))
    DATA_SAMPLERS.register_module(module=Chance, force=True)


def build(work_dir, resume=None, by_epoch=True, sampler='DefaultSampler', batch_sampler=None, workers=0,
          persistent=False, accumulate=1, ema=False, save_by_epoch=None, seed=5, length=3,
          strict=True, hooks=(), dataset=None, checkpoint='mmattn.CheckpointHook', **randomness):  # fmt: skip
    loader = dict(
        dataset=dataset or Shaky(),
        sampler=None if sampler == 'Endless' else dict(type=sampler),
        batch_size=3,
        num_workers=workers,
        persistent_workers=persistent,
        collate_fn=dict(type='pseudo_collate'),
    )
    if batch_sampler:
        import mmdet.datasets.samplers  # noqa: F401

        loader['batch_sampler'] = dict(type=batch_sampler)
    length = dict(max_epochs=length, val_interval=2) if by_epoch else dict(max_iters=11, val_interval=5)
    save_by_epoch = by_epoch if save_by_epoch is None else save_by_epoch
    schedule, saving = dict(by_epoch=by_epoch), dict(interval=1)
    return Runner(
        Toy(),
        str(work_dir),
        train_dataloader=loader,
        val_dataloader=dict(
            dataset=Shaky(own=False), batch_size=5, sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        train_cfg=dict(by_epoch=by_epoch, **length),
        val_cfg=dict(),
        val_evaluator=Evaluator(Score()),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.1, momentum=0.9), accumulative_counts=accumulate
        ),
        param_scheduler=dict(type='MultiStepLR', milestones=[1, 2], gamma=0.5, **schedule),
        default_hooks=dict(
            checkpoint=dict(type=checkpoint, by_epoch=save_by_epoch, save_best='acc', rule='less', **saving)
        ),
        custom_hooks=[
            dict(type='mmattn.ExactResumeHook', strict=strict),
            *([dict(type='EMAHook', momentum=0.2)] if ema else []),
            *hooks,
        ],
        load_from=str(resume) if resume else None,
        resume=resume is not None,
        randomness=dict(seed=seed, **randomness),
        default_scope='mmdet' if batch_sampler else 'mmengine',
        experiment_name=f'exact {next(RUNS)}',
    )  # fmt: skip


def end_of(runner, work_dir):
    """All that must be the same, as bytes, and the metrics of the run."""
    checkpoint = torch.load((work_dir / 'last_checkpoint').read_text(), weights_only=False)
    for key in ('meta', 'message_hub'):
        checkpoint.pop(key)
    return pickle.dumps(torch.utils._pytree.tree_map(
        lambda x: x.numpy().tobytes() if isinstance(x, torch.Tensor) else x, checkpoint
    )), runner.message_hub.get_scalar('val/acc').current()  # fmt: skip


SETTINGS = dict(
    epochs={},
    workers=dict(workers=2, persistent=True),
    in_epochs=dict(save_by_epoch=False, workers=2),
    accumulation=dict(accumulate=3),  # with 4 iterations an epoch, 4, 8 and 12: of these 12 alone is a step
    averages=dict(ema=True, save_by_epoch=False),
    aspect_ratio=dict(batch_sampler='AspectRatioBatchSampler', save_by_epoch=False),
    rank_seeds=dict(diff_rank_seed=True),
    iterations=dict(by_epoch=False, sampler='InfiniteSampler'),
    iterations_workers=dict(by_epoch=False, sampler='InfiniteSampler', workers=2, persistent=True, ema=True),
    iterations_aspect_ratio=dict(
        by_epoch=False, sampler='InfiniteSampler', batch_sampler='AspectRatioBatchSampler'
    ),
    rounds=dict(by_epoch=False),
    rounds_aspect_ratio=dict(by_epoch=False, batch_sampler='AspectRatioBatchSampler', workers=1),
    rounds_accumulation=dict(by_epoch=False, accumulate=2),
    chance=dict(by_epoch=False, sampler='Chance'),
)
SLOW = ('workers', 'iterations_aspect_ratio')  # others have their parts


# MMEngine's schedulers step each iteration, its optimizer when gradients are accumulated.
@pytest.mark.filterwarnings('ignore:Detected call of `scheduler.step')
@pytest.mark.parametrize(
    'setting',
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SETTINGS],
)
def test_from_every_checkpoint_the_same_end(tmp_path, setting):
    options = SETTINGS[setting]
    runner = build(tmp_path / 'whole', **options)
    runner.train()
    expected = end_of(runner, tmp_path / 'whole')
    checkpoints = [path for path in (tmp_path / 'whole').glob('*.pth') if not path.name.startswith('best')]
    assert len(checkpoints) >= 3 or setting == 'accumulation'
    for path in checkpoints[:: -(-len(checkpoints) // 4)]:
        work_dir = tmp_path / path.stem
        work_dir.mkdir()
        (work_dir / 'last_checkpoint').write_text(str(path))
        resumed = build(work_dir, path, **options)
        resumed.train()
        assert end_of(resumed, work_dir) == expected, path.name


def saved_once(tmp_path, **options):
    """A run of two epochs, and the checkpoint of the first."""
    runner = build(tmp_path / 'whole', length=2, **options)
    runner.train()
    return end_of(runner, tmp_path / 'whole'), tmp_path / 'whole/epoch_1.pth'


def test_without_the_hook_they_differ(tmp_path, monkeypatch):
    """What the other tests compare does differ if nothing is done."""
    for name in ('before_train', 'before_train_epoch', 'before_train_iter', 'before_save_checkpoint'):
        monkeypatch.setattr(ExactResumeHook, name, lambda *_, **__: None)
    expected, path = saved_once(tmp_path)
    resumed = build(tmp_path / 'resumed', path, length=2)
    resumed.train()
    assert end_of(resumed, tmp_path / 'resumed') != expected


def test_a_run_without_a_seed_goes_on_with_the_checkpoints(tmp_path):
    expected, path = saved_once(tmp_path, seed=None)
    resumed = build(tmp_path / 'resumed', path, length=2, seed=None)
    resumed.train()
    assert end_of(resumed, tmp_path / 'resumed') == expected


def test_a_checkpoint_holds_no_generator(tmp_path):
    path = saved_once(tmp_path)[1]
    record = torch.load(path, weights_only=False)[RESUME_RECORD]
    assert record == dict(
        seed=5, skip=0, sampler_seeds=[5], evaluated=False, complete=True, optimizer='SGD', world_size=1,
        unsaved=[dict(attributes={}, buffers={})], samples=11, batch_size=3, device='cpu',
        torch=torch.__version__,
    )  # fmt: skip
    assert len(pickle.dumps(record)) < 1000


def test_a_run_killed_before_its_evaluation_evaluates_first(tmp_path, monkeypatch):
    evaluated = []
    monkeypatch.setattr(Score, 'compute_metrics', lambda *_: evaluated.append(1) or dict(acc=1))
    runner = build(tmp_path / 'whole', length=2)
    runner.train()
    assert len(evaluated) == 1
    (tmp_path / 'resumed').mkdir()
    build(tmp_path / 'resumed', tmp_path / 'whole/epoch_2.pth', length=2).train()
    assert len(evaluated) == 1  # saved again after it, as the best so far
    checkpoint = torch.load(tmp_path / 'whole/epoch_2.pth', weights_only=False)
    assert checkpoint[RESUME_RECORD]['evaluated']
    checkpoint[RESUME_RECORD]['evaluated'] = False
    torch.save(checkpoint, tmp_path / 'before.pth')
    build(tmp_path / 'resumed', tmp_path / 'before.pth', length=2).train()
    assert len(evaluated) == 2


class CachedMosaic:
    results_cache = ()


class Remembering(Shaky):
    def __init__(self):
        self.pipeline = []
        self.dataset = SimpleNamespace(pipeline=SimpleNamespace(transforms=[dict(inner=[CachedMosaic()])]))


class Endless(IterableDataset):
    metainfo = dict(classes=('a',))

    def __iter__(self):
        while True:
            yield torch.rand(1)

    def __len__(self):
        return 11


@pytest.mark.parametrize(
    'options, says',
    [
        (
            dict(dataset=Endless(), sampler='Endless', by_epoch=False),
            'Endless cannot be asked for a sample by its index',
        ),
        (
            dict(dataset=Remembering()),
            'CachedMosaic in train_dataloader keep images of earlier samples; Mosaic',
        ),
        (
            dict(hooks=[dict(type='EarlyStoppingHook', monitor='acc', rule='less')]),
            'EarlyStoppingHook counts',
        ),
        (
            dict(checkpoint='CheckpointHook', accumulate=2),
            'CheckpointHook may save between two accumulated gradients; mmattn.CheckpointHook waits',
        ),
    ],
)
def test_what_cannot_be_exact_is_refused_or_warned_of(options, says, tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match=f'(?s)cannot be resumed exactly, to the last bit: {says}.*strict=False'
    ):
        build(tmp_path, **options).train()
    told = []
    monkeypatch.setattr('mmattn.hooks.exact_resume_hook.print_log', lambda text, *_: told.append(text))
    build(tmp_path, strict=False, length=1, **options).train()
    assert len(told) == 1 and told[0].startswith(
        f'This run cannot be resumed exactly, to the last bit: {says}'
    )


@pytest.mark.parametrize(
    'change, says',
    [
        (lambda c: c.pop(RESUME_RECORD), 'the checkpoint was saved without ExactResumeHook'),
        (lambda c: c[RESUME_RECORD].update(world_size=2), 'world size: 2 in the checkpoint, 1 here'),
        (lambda c: c[RESUME_RECORD].update(batch_size=8), 'batch size: 8 in the checkpoint, 3 here'),
        (lambda c: c[RESUME_RECORD].update(torch='1.0'), 'torch: 1.0 in the checkpoint, 2'),
        (lambda c: c[RESUME_RECORD].update(complete=False), 'between two accumulated gradients'),
        (lambda c: c.pop('optimizer'), 'the checkpoint has no state of the optimizer'),
    ],
)
def test_what_has_changed_is_refused_or_warned_of(change, says, tmp_path, monkeypatch):
    path = saved_once(tmp_path)[1]
    checkpoint = torch.load(path, weights_only=False)
    change(checkpoint)
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=says):
        build(tmp_path / 'resumed', path).train()
    told = []
    monkeypatch.setattr('mmattn.hooks.exact_resume_hook.print_log', lambda text, *_: told.append(text))
    build(tmp_path / 'resumed', path, strict=False).train()
    assert says in told[0]


def test_it_is_found_by_its_scope():
    assert type(HOOKS.build(dict(type='mmattn.ExactResumeHook'))) is ExactResumeHook


def test_nothing_is_seeded_when_nothing_trains(tmp_path):
    runner = build(tmp_path)
    hook = next(hook for hook in runner.hooks if isinstance(hook, ExactResumeHook))
    state = torch.get_rng_state()
    hook.before_val_iter(runner, 0)
    hook.before_save_checkpoint(runner, {})
    assert torch.equal(torch.get_rng_state(), state) and hook._evaluated is None
