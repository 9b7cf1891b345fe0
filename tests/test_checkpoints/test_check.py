"""A checkpoint with attention loaded into a model without."""

import pytest
import torch
from mmdet.models import ResNet
from torch import nn

from mmattn import attach
from mmattn.checkpoints import check_insertion

SAID = 'THE CHECKPOINT HAS ATTENTION AND THE MODEL HAS NONE'
SE = dict(type='mmattn.SE', start='identity')


def backbone():
    return ResNet(18, base_channels=16, stem_channels=16)


def with_attention():
    return attach(backbone(), [dict(at='layer[34]', block=SE)])


class Wrapper(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def said(warnings):
    found = [w for w in warnings if SAID in w]
    warnings.clear()
    return found


LINES = (
    'Write in the config, beside the other settings of the model:\n'
    "  model = dict(type='mmattn.WithAttention', detector='ResNet', insert=[dict(at='layer[3-4]', "
    "block=dict(type='mmattn.SE', start='identity'))])"
)


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: dict(state_dict=state, meta={}),
        lambda state: state,
        lambda state: dict(state_dict={f'module.{key}': value for key, value in state.items()}),
    ],
    ids=['checkpoint', 'state_dict', 'distributed'],
)
def test_it_is_warned_of_with_the_lines_to_write(wrap, warnings):
    checkpoint = wrap(with_attention().state_dict())
    assert check_insertion(backbone(), checkpoint) is False
    (text,) = said(warnings)
    assert text.endswith(LINES)


@pytest.mark.parametrize(
    'model',
    [
        with_attention,
        lambda: Wrapper(module=with_attention()),
        lambda: Wrapper(student=with_attention(), teacher=with_attention()),
    ],
    ids=['itself', 'wrapped', 'teacher'],
)
def test_a_model_with_attention_compares_by_itself(model, warnings):
    assert check_insertion(model(), with_attention().state_dict()) is True
    assert not said(warnings)


def test_checkpoints_without_attention_or_without_a_spec_are_none_to_warn_of(warnings):
    assert check_insertion(backbone(), backbone().state_dict())
    state = with_attention().state_dict()
    del state['attention._extra_state']
    assert check_insertion(backbone(), state)
    assert not said(warnings)


def test_attention_of_a_part(warnings):
    state = Wrapper(backbone=with_attention()).state_dict()
    assert check_insertion(Wrapper(backbone=with_attention()), state)
    assert not said(warnings)
    assert not check_insertion(Wrapper(backbone=backbone()), state)
    assert "in its part 'backbone':\n  insert=[dict(at='layer[3-4]'" in said(warnings)[0]
    # Attention elsewhere does not take it.
    assert not check_insertion(with_attention(), state)
    whole = attach(Wrapper(backbone=backbone()), [dict(at='backbone.layer4', block=SE)]).state_dict()
    assert not check_insertion(Wrapper(backbone=with_attention()), whole)
    assert len(said(warnings)) == 2
    # But that of a student or of a wrapper of wrappers does.
    assert check_insertion(Wrapper(student=Wrapper(backbone=with_attention())), state)
    assert check_insertion(Wrapper(module=Wrapper(module=Wrapper(backbone=with_attention()))), state)
    assert not said(warnings)


def test_a_spec_of_a_later_version(warnings):
    state = with_attention().state_dict()
    state['attention._extra_state'] = torch.tensor(list(b'{"format":99}'), dtype=torch.uint8)
    assert not check_insertion(backbone(), state)
    assert 'is unknown: its insertion spec has format 99' in said(warnings)[0]


def test_something_else_is_refused():
    with pytest.raises(ValueError, match='not a checkpoint: it holds no state_dict'):
        check_insertion(backbone(), dict(state_dict={}))
