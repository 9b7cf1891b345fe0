"""Attention that no optimizer has, or that is frozen with all else, is told of at the first training step."""

import copy
import gc
import weakref

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn
from torch.optim import SGD, AdamW

from mmattn import attach, detach
from mmattn.insertion import training_watch

SAID = 'ATTENTION DOES NOT TRAIN'


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.head(self.body(x))


class Detector(BaseModel):
    def __init__(self):
        super().__init__()
        self.net = Plain()

    def forward(self, inputs, mode='tensor'):
        out = self.net(torch.stack(list(inputs)))
        return dict(loss=out.square().mean()) if mode == 'loss' else out


def insert(model, at='body', **options):
    return attach(model, [dict(at=at, block=dict(type='mmattn.SE'))], **options)


def step(model, *optimizers):
    model(torch.rand(1, 3, 8, 8)).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def said(warnings):
    found = [w for w in warnings if SAID in w]
    warnings.clear()
    return found


def test_attached_after_the_optimizer_was_built(warnings):
    model = Plain()
    optimizer = SGD(model.parameters(), 0.1)
    insert(model)
    before = copy.deepcopy(model.attention.state_dict())
    step(model, optimizer)
    (text,) = said(warnings)
    assert '4 of its 4 parameters are in no group of an optimizer' in text and 'add_param_group' in text
    state = model.attention.state_dict()
    assert all(value.equal(state[key]) for key, value in before.items())  # it is true
    step(model, optimizer)
    assert not said(warnings)  # once


def test_its_remedies_silence_it(warnings):
    model = insert(Plain())
    step(model, AdamW(model.parameters()))
    model = Plain()
    optimizer = SGD(model.parameters(), 0.1)
    insert(model)
    optimizer.add_param_group(dict(params=list(model.attention.parameters())))
    step(model, optimizer)
    assert not said(warnings)


@pytest.mark.parametrize('missing', [False, True])
def test_several_optimizers(missing, warnings):
    model = insert(Plain())
    parts = [model.body, model.head] + [model.attention] * (not missing)
    optimizers = [SGD(part.parameters(), 0.1) for part in parts]
    step(model, optimizers[0])
    assert len(said(warnings)) == missing  # at the first step of the first
    step(model, *optimizers)
    assert not said(warnings)


def test_another_model_and_a_frozen_one_are_left_alone(warnings):
    model, other = insert(Plain()), Plain()
    optimizer = SGD(other.parameters(), 0.1)
    for _ in range(3):
        step(other, optimizer)
    model.attention.requires_grad_(False)
    optimizer = SGD([*model.body.parameters(), *model.head.parameters()], 0.1)
    for _ in range(3):
        step(model, optimizer)
    assert not said(warnings)


def test_a_copy_is_watched_by_itself(warnings):
    model = insert(Plain())
    twin = copy.deepcopy(model).train()
    step(model, SGD(model.parameters(), 0.1))
    assert not said(warnings)
    step(twin, SGD([*twin.body.parameters(), *twin.head.parameters()], 0.1))
    assert len(said(warnings)) == 1


def test_nothing_is_kept(warnings):
    training_watch._watches.clear()
    model = insert(Plain())
    lost = weakref.ref(model)
    del model
    gc.collect()
    assert lost() is None
    other = detach(insert(Plain()))
    step(other, SGD(other.parameters(), 0.1))
    assert not training_watch._watches and not said(warnings)


class AttachLate(Hook):
    def before_train(self, runner):
        insert(runner.model, 'net.body')


def run(model, tmp_path, *hooks):
    Runner(
        model,
        str(tmp_path),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.rand(3, 8, 8)) for _ in range(4)],
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=list(hooks),
        experiment_name=tmp_path.name,
    ).train()


def test_in_a_hook_of_a_runner(tmp_path, capsys):
    run(Detector(), tmp_path, AttachLate())
    assert capsys.readouterr().out.count(SAID) == 1


@pytest.mark.parametrize('frozen', [True, False])
def test_frozen_with_all_else(frozen, warnings):
    model = insert(Detector(), 'net.body', freeze_detector=frozen)
    (model.attention if frozen else model).requires_grad_(False)
    wrapper = OptimWrapper(SGD(model.parameters(), 0.1))
    with pytest.raises(RuntimeError, match='does not require grad'):
        model.train_step(dict(inputs=[torch.rand(3, 8, 8)]), wrapper)
    (text,) = [w for w in warnings if 'NOTHING TRAINS' in w]
    assert ('freeze_detector=True froze the detector' in text) is frozen
    assert 'model.attention.requires_grad_(True)' in text
    warnings.clear()
    with torch.no_grad():
        model.parse_losses(dict(loss=torch.zeros(())))
    model.attention.requires_grad_(True)
    model.train_step(dict(inputs=[torch.rand(3, 8, 8)]), wrapper)
    assert not warnings
