"""AdapterHook saves adapters during training by a Runner."""

import pytest
import torch
from mmdet.models import ResNet
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmattn import attach
from mmattn.checkpoints import load_adapter, read_adapter

RULES = [dict(at='backbone.layer4.*.residual', block=dict(type='mmattn.SE'))]


class Tiny(BaseModel):
    """A model that a Runner trains."""

    def __init__(self):
        super().__init__()
        self.backbone = ResNet(
            18, base_channels=8, stem_channels=8, frozen_stages=-1, norm_eval=False, zero_init_residual=False
        )
        self.register_buffer('moves', torch.zeros(1))
        self.moving = False

    def forward(self, inputs, mode='tensor'):
        if self.moving:
            self.moves += 1
        features = self.backbone(torch.stack(list(inputs)))
        return dict(loss=sum((f - 1).square().mean() for f in features)) if mode == 'loss' else features


def runner(tmp_path, rules=RULES, freeze=True, hook=(), hooks=(), train=None, moving=False):
    torch.manual_seed(0)
    model = Tiny()
    if rules:
        attach(model, rules, freeze_detector=freeze)
    model.moving = moving
    data = [torch.rand(3, 32, 32) for _ in range(4)]
    return Runner(
        model=model,
        work_dir=str(tmp_path / 'work'),
        experiment_name=tmp_path.name,
        train_dataloader=DataLoader(data, batch_size=2, collate_fn=lambda batch: dict(inputs=batch)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=train or dict(by_epoch=True, max_epochs=3),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[dict(type='mmattn.AdapterHook', **dict(hook)), *hooks],
    )


def written(folder):
    return sorted(path.name for path in folder.glob('*.safetensors'))


def test_it_is_found_by_its_scope():
    from mmattn.hooks import AdapterHook

    assert type(HOOKS.build(dict(type='mmattn.AdapterHook', interval=2))) is AdapterHook


@pytest.mark.parametrize('ema', [False, True])
def test_adapters_are_those_of_the_checkpoints(tmp_path, ema):
    """With a moving average, adapters hold it, as the checkpoints' state dicts do."""
    hooks = [dict(type='EMAHook', momentum=0.3)] * ema
    runner(tmp_path, hooks=hooks).train()
    work = tmp_path / 'work'
    assert written(work) == [f'adapter_epoch_{i}.safetensors' for i in (1, 2, 3)]
    seen = []
    for i in (1, 2, 3):
        state = torch.load(work / f'epoch_{i}.pth', weights_only=False)['state_dict']
        adapter = read_adapter(work / f'adapter_epoch_{i}.safetensors')
        assert adapter.weights and all(value.equal(state[key]) for key, value in adapter.weights.items())
        seen.append(adapter.weights['attention.backbone_layer4_1_residual.fc2.bias'])
        stock = Tiny()
        stock.load_state_dict({k: v for k, v in state.items() if not k.startswith('attention.')})
        load_adapter(stock, work / f'adapter_epoch_{i}.safetensors')
        assert all(value.equal(state[key]) for key, value in stock.state_dict().items())
    assert not seen[0].equal(seen[1]) and not seen[1].equal(seen[2])


@pytest.mark.parametrize(
    'hook, train, expected',
    [
        (dict(interval=2), None, ['adapter_epoch_2.safetensors', 'adapter_epoch_3.safetensors']),
        (dict(interval=2, save_last=False), None, ['adapter_epoch_2.safetensors']),
        (dict(interval=-1), None, ['adapter_epoch_3.safetensors']),
        (
            dict(interval=2, by_epoch=False),
            dict(by_epoch=False, max_iters=5),
            ['adapter_iter_2.safetensors', 'adapter_iter_4.safetensors', 'adapter_iter_5.safetensors'],
        ),
    ],
)
def test_when_and_where_it_saves(tmp_path, hook, train, expected):
    runner(tmp_path, hook=dict(hook, out_dir=str(tmp_path / 'out')), train=train).train()
    assert written(tmp_path / 'out' / 'work') == expected
    assert not written(tmp_path / 'work')


def test_a_detector_that_trains_is_refused_before_training(tmp_path):
    with pytest.raises(
        ValueError,
        match=r'here the detector trains too \(backbone.conv1.weight, ...\): set '
        'freeze_detector=True',
    ):
        runner(tmp_path, freeze=False).train()


def test_a_detector_that_partly_trains_is_refused(tmp_path):
    run = runner(tmp_path)
    run.model.backbone.conv1.requires_grad_(True)
    with pytest.raises(ValueError, match='the detector trains too .backbone.conv1.weight'):
        run.train()


def test_a_detector_without_attention_is_refused(tmp_path):
    with pytest.raises(ValueError, match='AdapterHook saves attention, and Tiny has none: write model=dict'):
        runner(tmp_path, rules=None).train()


def test_a_detector_that_changes_in_another_way_is_noticed(tmp_path):
    with pytest.raises(RuntimeError, match=r'though its parameters are frozen: 1 of \d+ tensors .*\(moves\)'):
        runner(tmp_path, moving=True).train()
    assert not written(tmp_path / 'work')


@pytest.mark.parametrize('interval', [0, -2, 1.5, True])
def test_an_interval_that_is_none(interval):
    with pytest.raises(ValueError, match='it must be a positive integer, or -1'):
        HOOKS.build(dict(type='mmattn.AdapterHook', interval=interval))
