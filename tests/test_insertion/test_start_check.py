"""Blocks from elsewhere: what a class lacks is said with the lines to write, and its start is checked."""

import pytest
import torch
from mmdet.models import ResNet
from torch import nn

from mmattn import attach, ops
from mmattn.blocks import SE, AttentionBlock


class Gate(AttentionBlock):
    """Complete; the others lack something each."""

    def __init__(self, in_channels, start='paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        self.fc = nn.Conv2d(in_channels, in_channels, 1)
        self.reset_start()

    def gates(self, x):
        return {'channel': ops.sigmoid_gate(self.fc(x.mean((2, 3), keepdim=True)), self.ceiling)}

    def reset_parameters(self):
        nn.init.normal_(self.fc.weight)
        nn.init.ones_(self.fc.bias)

    def last_parameters(self):
        return [self.fc.weight, self.fc.bias]


class ForgotBias(Gate):
    def last_parameters(self):
        return [self.fc.weight]


class ForgotAll(Gate):
    def last_parameters(self):
        return []


class HalfAtZero(Gate):
    def gates(self, x):
        return {'channel': torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True)))}


class ReturnsTensor(Gate):
    def gates(self, x):
        return torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class NoReset(AttentionBlock):
    def __init__(self, in_channels, start='paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        self.fc = nn.Conv2d(in_channels, in_channels, 1)
        self.reset_start()

    gates = Gate.gates


class NoLast(NoReset):
    reset_parameters = Gate.reset_parameters


class NoGates(NoLast):
    gates = AttentionBlock.gates


class OfOurs(Gate):
    """Wrong only in the block of this package that it has inside."""

    def __init__(self, in_channels, start='paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        self.inner = SE(in_channels, start='paper')

    def forward(self, x):
        return self.inner(super().forward(x))


def insert(cls, start='identity'):
    model = ResNet(18, base_channels=16, stem_channels=16)
    return attach(model, [dict(at='layer4.*.residual', block=dict(type=cls, start=start))])


def test_a_complete_block_is_inserted_and_left_as_it_was():

    model = insert(Gate)
    block = model.attention['layer4_0_residual']
    assert block.training and not block.fc.weight.any() and all(p.requires_grad for p in block.parameters())
    insert(Gate, 'paper')
    insert(ForgotBias, 'paper')  # claims nothing


@pytest.mark.parametrize(
    'cls, text',
    [
        (
            ForgotBias,
            r'last_parameters\(\) returns fc.weight, and most likely lacks self.fc.bias: with zeros',
        ),
        (ForgotAll, r'returns nothing, and most likely lacks self.fc.weight and self.fc.bias: with zeros'),
        (HalfAtZero, r'returns fc.weight, fc.bias, and no layer with zeros .* self.ceiling \* sigmoid\(z\)'),
        (OfOurs, r'no layer with zeros makes the map unchanged'),
    ],
)
def test_a_start_that_is_no_identity_is_refused_with_the_likely_cause(cls, text):
    with pytest.raises(
        ValueError, match=rf'{cls.__name__} has start=.identity., but .* by up to [\d.]+\. .*{text}'
    ):
        insert(cls)


@pytest.mark.parametrize(
    'cls, start, text',
    [
        (
            ReturnsTensor,
            'paper',
            r"gates\(\) returns a tensor, but has to return a dict .* return {'channel': ",
        ),
        (NoReset, 'paper', r'NoReset lacks reset_parameters\(\).*\n    def reset_parameters\(self\):\n'),
        (
            NoLast,
            'identity',
            r'NoLast lacks last_parameters\(\).*\n    def last_parameters\(self\):\n        return \[',
        ),
        (NoGates, 'paper', r'NoGates lacks gates\(\).*\n    def gates\(self, x\):\n        return {'),
    ],
)
def test_what_a_class_lacks_is_said_with_the_lines_to_write(cls, start, text):
    with pytest.raises((TypeError, ValueError), match=text):
        insert(cls, start)


def test_what_cannot_be_run_here_is_said(warnings):
    class NeedsDevice(Gate):
        def forward(self, x):
            if type(x) is torch.Tensor:
                raise NotImplementedError('only on the other device')
            return x

    insert(NeedsDevice)
    (said,) = [w for w in warnings if 'could not be checked' in w][:1]
    assert (
        "NeedsDevice has start='identity', which could not be checked: NotImplementedError: only on" in said
    )
