"""Gate statistics logged during training: their values, their backends, and no trace on the model."""

import json

import pytest
import torch
from mmdet.models import ResNet
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmattn import attach
from mmattn.blocks import SE, SKConv
from mmattn.hooks import AttentionStatsHook
from mmattn.visualization import GateSource, RecordedGates, gate_sources
from tests.test_visualization.helpers import naive_stats

RULES = [dict(at='backbone.layer[34].0.residual', block=dict(type='mmattn.CBAM', reduction=4))]
LR = 0.05


class Tiny(BaseModel):
    """A model that a Runner trains."""

    def __init__(self):
        super().__init__()
        self.backbone = ResNet(
            18, base_channels=8, stem_channels=8, frozen_stages=-1, norm_eval=False, zero_init_residual=False
        )

    def forward(self, inputs, mode='tensor'):
        features = self.backbone(torch.stack(list(inputs)))
        return dict(loss=sum((f - 1).square().mean() for f in features)) if mode == 'loss' else features


class Watch(Hook):
    """Gather what the hook is expected to log, without the hook."""

    priority = 'LOWEST'  # its forward hooks are registered first, those of before_train_iter after them

    def __init__(self):
        self.gates, self.before, self.steps, self.hooks = {}, {}, {}, []

    def before_run(self, runner):
        for source in gate_sources(runner.model):
            source.block.register_forward_hook(self.watch(source))

    def watch(self, source):
        def hook(block, args, output):
            twin = block.__class__(block.in_channels, reduction=4).train()
            twin.load_state_dict(block.state_dict())
            with torch.no_grad():
                self.gates[source.name] = {name: gate.numpy() for name, gate in twin.gates(args[0]).items()}

        return hook

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = {
            source.name: [p.detach().clone() for p in source.block.parameters()]
            for source in gate_sources(runner.model)
        }
        self.hooks.append(
            sum(len(m._forward_hooks) for m in runner.model.modules())
            + len(runner.optim_wrapper.optimizer._optimizer_step_pre_hooks)
        )

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        found = {}
        for source in gate_sources(runner.model):
            now = [p.detach() for p in source.block.parameters()]
            moved = torch.cat([((a - b) / LR).flatten() for a, b in zip(self.before[source.name], now)])
            found[source.name] = dict(
                gates=self.gates[source.name],
                grad_norm=moved.norm().item(),
                weight_norm=torch.cat([p.flatten() for p in now]).norm().item(),
            )
        self.steps[runner.iter + 1] = found


def run(tmp_path, hook=(), rules=RULES, change=None, hooks=(), accumulate=1):
    torch.manual_seed(0)
    model = Tiny()
    if rules:
        attach(model, rules)
    model.init_weights()
    if change:
        change(model)
    runner = Runner(
        model=model,
        work_dir=str(tmp_path / 'work'),
        experiment_name=tmp_path.name,
        train_dataloader=DataLoader(
            [torch.rand(3, 64, 64) for _ in range(12)],  # one epoch: at its end MMEngine sleeps
            batch_size=2,
            collate_fn=lambda batch: dict(inputs=batch),
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=LR), accumulative_counts=accumulate),
        randomness=dict(seed=0),
        train_cfg=dict(by_epoch=False, max_iters=6),
        default_hooks=dict(checkpoint=None),
        custom_hooks=[dict(type='mmattn.AttentionStatsHook', **{'interval': 3, **dict(hook)}), *hooks],
        visualizer=dict(
            type='Visualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
        ),
    )
    runner.train()
    runner.visualizer.close()
    return runner


@pytest.fixture
def said(monkeypatch):
    """Texts that the hook logs; each run has its own logger."""
    texts = []
    monkeypatch.setattr('mmattn.hooks.attention_stats_hook.print_log', lambda text, **_: texts.append(text))
    return texts


def from_json(tmp_path):
    lines = [
        json.loads(line) for path in tmp_path.rglob('scalars.json') for line in path.read_text().splitlines()
    ]
    return {line['step']: line for line in lines if any(key.startswith('attention/') for key in line)}


def from_tensorboard(tmp_path):
    event_accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    (file,) = tmp_path.rglob('events.out.tfevents*')
    events = event_accumulator.EventAccumulator(str(file)).Reload()
    found = {}
    for tag in events.Tags()['scalars']:
        for event in events.Scalars(tag):
            found.setdefault(event.step, {})[tag] = event.value
    return found


def test_numbers_are_those_of_numpy_in_every_backend(tmp_path):
    watch = Watch()
    run(tmp_path, hooks=[watch])
    for found in (from_json(tmp_path), from_tensorboard(tmp_path)):
        assert [step for step in sorted(found) if any('attention/' in key for key in found[step])] == [3, 6]
        for step in (3, 6):
            for site, expected in watch.steps[step].items():
                numbers = dict(grad_norm=expected['grad_norm'], weight_norm=expected['weight_norm'])
                for gate_name, gate in expected['gates'].items():
                    numbers.update(
                        {f'{gate_name}_{name}': value for name, value in naive_stats(gate, 0.0, 1.0).items()}
                    )
                written = {
                    key.removeprefix(f'attention/{site}/'): value
                    for key, value in found[step].items()
                    if key.startswith(f'attention/{site}/')
                }
                assert written.keys() == numbers.keys()
                for name, value in numbers.items():
                    assert written[name] == pytest.approx(value, rel=2e-3, abs=1e-5), (step, site, name)


def test_nothing_is_hooked_between_measurements_nor_afterwards(tmp_path):
    watch = Watch()
    runner = run(tmp_path, hooks=[watch])
    assert watch.hooks == [
        2,
        2,
        5,
        2,
        2,
        5,
    ]  # Watch's two; in a measurement two more on blocks and one on the optimizer
    assert sum(len(m._forward_hooks) for m in runner.model.modules()) == 2
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks


def test_training_is_the_same_with_and_without(tmp_path):
    """Bit for bit, statistics of norms included."""
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    one = run(tmp_path / 'a').model.state_dict()
    other = run(tmp_path / 'b', hook=dict(interval=100)).model.state_dict()
    assert all(not isinstance(value, torch.Tensor) or value.equal(other[key]) for key, value in one.items())


@pytest.mark.parametrize(
    'bias, text',
    [
        (-30.0, 'has died: 100% of its channels are at 0, an end'),
        (30.0, 'is saturated: 100% of its channels are at 1, an end'),
    ],
)
def test_a_dead_gate_is_warned_of_once(tmp_path, said, bias, text):
    def change(model):
        block = next(block for site, _, block in model.attention.blocks() if 'layer4' in site.name)
        torch.nn.init.constant_(block.ChannelGate.mlp[3].bias, bias)

    run(tmp_path, hook=dict(interval=1), change=change)
    assert len(said) == 1
    assert "the channel gate at 'backbone.layer4.0.residual' " in said[0] and text in said[0]
    assert '2 measurements in a row, the last at iteration 2' in said[0] and 'lr_mult' in said[0]


@pytest.mark.parametrize('patience, number', [(1, 2), (2, 0)])
def test_a_gate_that_recovers_is_not_warned_of(tmp_path, said, patience, number):
    class Twitch(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            for _, _, block in runner.model.attention.blocks():
                torch.nn.init.constant_(block.ChannelGate.mlp[3].bias, -30.0 if runner.iter % 2 else 0.0)

    run(tmp_path, hook=dict(interval=1, patience=patience), hooks=[Twitch()])
    assert len(said) == number  # of the two sites


def test_gradient_norms_are_logged_where_the_optimizer_steps(tmp_path):
    """The optimizer steps in every second iteration; only there is a gradient norm."""
    run(tmp_path, hook=dict(interval=1), accumulate=2)
    found = from_json(tmp_path)
    assert [step for step in found if any('grad_norm' in key for key in found[step])] == [2, 4, 6]
    assert sorted(found) == [1, 2, 3, 4, 5, 6]


def test_a_branch_that_is_always_chosen_is_warned_of(said):
    hook = AttentionStatsHook(interval=1)
    source = GateSource('site', SKConv(8, 8, 3, padding=1), None)
    hook._sources = [source]
    gates = torch.zeros(2, 2, 8, 1, 1)
    gates[:, 0] = 1
    for step in (1, 2):
        value = hook._reduce(source, None, dict(branch=gates))
        hook._warn(hook._scalars([RecordedGates(source, 0, None, None, value)]), step)
    assert [text.split(':')[0] for text in said] == [
        "the branch1 gate at 'site' is saturated",
        "the branch2 gate at 'site' has died",
    ]


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('finite', [True, False])
def test_gradients_under_a_scaler(fused, finite):
    """A fused optimizer gets scaled gradients, and is informed if they are not finite."""
    block = SE(16)
    optimizer = torch.optim.AdamW(block.parameters(), fused=fused)
    hook = AttentionStatsHook()
    hook._sources = gate_sources(block)
    optimizer.register_step_pre_hook(hook._note_gradients)
    scaler = torch.amp.GradScaler('cpu', init_scale=2.0**16)
    torch.manual_seed(0)
    loss = block(torch.rand(2, 16, 5, 5)).mean() * (1.0 if finite else float('inf'))
    gradients = torch.autograd.grad(loss, list(block.parameters()), retain_graph=True)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    assert list(hook._gradients) == (['SE'] if finite else [])
    if finite:
        expected = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        torch.testing.assert_close(hook._gradients['SE'], expected)


def test_frozen_attention_has_no_gradient(tmp_path):
    run(tmp_path, change=lambda model: model.attention.requires_grad_(False))
    found = from_json(tmp_path)
    assert not any('grad_norm' in key for key in found[3]) and any('weight_norm' in key for key in found[3])


@pytest.mark.parametrize(
    'options, text',
    [
        (dict(interval=0), 'interval=0; it must be a positive integer'),
        (dict(interval=2.5), 'interval=2.5; it must be a positive integer'),
        (dict(patience=True), 'patience=True; it must be a positive integer'),
        (dict(warn_share=0), r'warn_share=0; it must be in \(0, 1\]'),
    ],
)
def test_a_wrong_option_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        HOOKS.build(dict(type='mmattn.AttentionStatsHook', **options))


@pytest.mark.parametrize(
    'rules, why',
    [
        (None, 'it has no attention block of mmattn'),
        (
            [dict(at='backbone.layer4.0.residual', block=dict(type='mmattn.GlobalContext'))],
            r'GlobalContext \(1\) adds to its map',
        ),
    ],
)
def test_a_model_without_gates_is_an_error_before_training(tmp_path, rules, why):
    message = f'AttentionStatsHook: no gates in .*Tiny(WithAttention)?: {why}.*, or leave the hook out'
    with pytest.raises(ValueError, match=message):
        run(tmp_path, rules=rules)
