"""What a run can be resumed from: the same attention, the same optimizer, a whole file."""

import os

import pytest
import torch
from mmdet.models import ResNet
from torch import nn

from mmattn import attach
from mmattn.checkpoints import (
    checkpoint_to_resume,
    damage_of,
    require_same_insertion,
    require_same_optimizer,
)

SE = dict(type='mmattn.SE', start='identity')


def backbone(*sites):
    model = ResNet(18, base_channels=16, stem_channels=16)
    return attach(model, [dict(at=site, block=SE) for site in sites]) if sites else model


@pytest.mark.parametrize(
    'theirs, ours, says',
    [
        (
            (),
            ['layer3'],
            'with attention that it did not have: the checkpoint has none, and the model has 1 blo',
        ),
        (
            ['layer3'],
            (),
            'without its attention: the checkpoint has attention, and the model has none.*insert=[',
        ),
        (['layer3'], ['layer4'], 'with other attention.*To resume it, write'),
    ],
)
def test_another_insertion_is_a_new_start(theirs, ours, says):
    with pytest.raises(ValueError) as error:
        require_same_insertion(backbone(*ours), dict(state_dict=backbone(*theirs).state_dict()))
    text = str(error.value)
    for part in says.split('.*'):
        assert part in text
    assert text.startswith('a run cannot be resumed ') and 'load_from without resume' in text


def test_the_same_insertion_is_resumed():
    for sites in ((), ['layer3'], ['layer3', 'layer4']):
        require_same_insertion(backbone(*sites), dict(state_dict=backbone(*sites).state_dict()))


def small(extra=False):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    if extra:
        model.attention = nn.Linear(2, 2)
    return model


def optimizer_of(model, cls=torch.optim.SGD, step=True, **options):
    optimizer = cls(model.parameters(), **(options or dict(lr=0.1)))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def saved(model, optimizer, name=None):
    record = dict(exact_resume=dict(optimizer=name)) if name else {}
    return dict(state_dict=model.state_dict(), optimizer=optimizer.state_dict(), **record)


MOMENTUM = dict(lr=0.1, momentum=0.9)


@pytest.mark.parametrize('name', [None, 'SGD'])
def test_another_optimizer_is_a_new_start(name):
    checkpoint = saved(small(), optimizer_of(small(), **MOMENTUM), name)
    theirs = name or 'one with dampening, lr, momentum, nesterov, weight_decay'
    with pytest.raises(ValueError) as error:
        model = small()
        require_same_optimizer(model, optimizer_of(model, torch.optim.AdamW), checkpoint)
    assert str(error.value) == (
        f'a run cannot be resumed with another optimizer: the checkpoint has the state of {theirs}, and the '
        'config builds AdamW. To resume it, write the optimizer of the checkpoint. To start a new training '
        'from its weights, use load_from without resume'
    )


def test_adam_is_not_adamw_where_the_checkpoint_names_it():
    checkpoint = saved(small(), optimizer_of(small(), torch.optim.Adam), 'Adam')
    model = small()
    with pytest.raises(ValueError, match='the state of Adam, and the config builds AdamW'):
        require_same_optimizer(model, optimizer_of(model, torch.optim.AdamW), checkpoint)


def test_other_parameters_are_a_new_start():
    checkpoint = saved(small(), optimizer_of(small(), **MOMENTUM))
    model = small(extra=True)
    with pytest.raises(ValueError) as error:
        require_same_optimizer(model, optimizer_of(model, **MOMENTUM), checkpoint)
    assert (
        'the optimizer of the checkpoint has 4 parameters in 1 group, and here it has 6 parameters in 1 '
        'group. The model has new 2 weights (attention.bias, attention.weight). To start'
    ) in str(error.value)
    checkpoint = saved(small(extra=True), optimizer_of(small(extra=True), **MOMENTUM))
    with pytest.raises(ValueError, match=r'The model lacks 2 weights \(attention.bias, attention.weight\)'):
        model = small()
        require_same_optimizer(model, optimizer_of(model, **MOMENTUM), checkpoint)


def test_a_state_of_other_shapes_is_refused():
    other = nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 2))
    checkpoint = saved(other, optimizer_of(other, **MOMENTUM))
    model = small()
    with pytest.raises(ValueError, match=r'has the shape \(5, 2\) in the checkpoint and \(3, 2\) here'):
        require_same_optimizer(model, optimizer_of(model, **MOMENTUM), checkpoint)


@pytest.mark.parametrize('cls', [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adam, torch.optim.RMSprop])
@pytest.mark.parametrize('named', [True, False])
def test_the_same_optimizer_is_resumed(cls, named):
    checkpoint = saved(small(), optimizer_of(small(), cls), cls.__name__ if named else None)
    for group in checkpoint['optimizer']['param_groups']:
        group['initial_lr'] = 0.1
        group.pop('fused', None)  # as from an older PyTorch
    model = small()
    require_same_optimizer(model, optimizer_of(model, cls), checkpoint)


def write(path, **options):
    torch.save(dict(state_dict=dict(a=torch.arange(1000.0))), path, **options)
    return str(path)


def test_damage_is_found_at_every_byte(tmp_path):
    path = write(tmp_path / 'a.pth')
    whole = (tmp_path / 'a.pth').read_bytes()
    assert damage_of(path) is None
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / 'a.pth').write_bytes(whole[:length])
        expected = {0: 'is empty', 3: 'is no file of PyTorch'}.get(length, 'is cut off')
        assert damage_of(path) == expected, length
    start = whole.index(torch.arange(1000.0).numpy().tobytes()[:64])
    (tmp_path / 'a.pth').write_bytes(whole[: start + 10] + b'\xff' + whole[start + 11 :])
    assert damage_of(path).startswith('is damaged: ') and 'does not have its checksum' in damage_of(path)
    assert damage_of(write(tmp_path / 'old.pth', _use_new_zipfile_serialization=False)) is None
    assert damage_of(str(tmp_path / 'none.pth')) == 'does not exist'


@pytest.fixture
def run(tmp_path):
    """A work directory with three checkpoints."""
    for name in ('epoch_2', 'epoch_9', 'epoch_10', 'best_x_epoch_9'):
        write(tmp_path / f'{name}.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_10.pth'))
    return tmp_path


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def test_the_last_checkpoint_is_resumed_from(run, warnings):
    assert checkpoint_to_resume(str(run)) == str(run / 'epoch_10.pth') and not warnings
    (run / 'last_checkpoint').unlink()
    assert checkpoint_to_resume(str(run)) is None


def test_the_one_before_is_taken_and_that_is_said(run, warnings):
    cut(run / 'epoch_10.pth')
    assert checkpoint_to_resume(str(run)) == str(run / 'epoch_9.pth')
    assert warnings == [
        f'--resume: {run}/epoch_10.pth, which {run}/last_checkpoint names, is cut off. Training goes on from '
        f'the one before: {run}/epoch_9.pth'
    ]
    cut(run / 'epoch_9.pth')
    assert checkpoint_to_resume(str(run)) == str(run / 'epoch_2.pth')


@pytest.mark.parametrize('damage', ['missing', 'empty'])
def test_a_last_checkpoint_that_names_no_file(run, damage, warnings):
    if damage == 'missing':
        (run / 'epoch_10.pth').unlink()
    else:
        (run / 'last_checkpoint').write_text('')
    expected = 'epoch_9.pth' if damage == 'missing' else 'epoch_10.pth'
    assert checkpoint_to_resume(str(run)) == str(run / expected)
    assert ('does not exist' if damage == 'missing' else 'names no checkpoint') in warnings[0]


def test_no_whole_checkpoint_is_an_error(run):
    for path in run.glob('epoch*'):
        cut(path)
    with pytest.raises(ValueError, match='is cut off, and no checkpoint before it is whole. Start without'):
        checkpoint_to_resume(str(run))


def test_a_work_directory_that_was_moved(run, tmp_path):
    new = tmp_path.parent / f'{tmp_path.name}_moved'
    run.rename(new)
    assert checkpoint_to_resume(str(new)) == str(new / 'epoch_10.pth')
