"""Helpers for the tests of blocks."""

import importlib
import importlib.metadata
import sys
import types
from unittest import mock

import pytest
import torch

from mmattn.blocks.contract import randomise, smooth_map  # noqa: F401  for all tests of blocks


def check_against(reference, block, x):
    """Assert that block and reference agree in value and in every gradient, in float64."""
    block = block.double()
    x = x.double().requires_grad_()
    parameters = {name: p.detach().clone().requires_grad_() for name, p in block.named_parameters()}
    other = x.detach().clone().requires_grad_()
    expected = reference(other, {**dict(block.named_buffers()), **parameters})
    got = block(x)
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    weight = smooth_map(*x.shape, seed=2)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(x.grad, other.grad, rtol=1e-9, atol=1e-11)
    for name, p in block.named_parameters():
        if not p.requires_grad:  # the test says why
            continue
        assert p.grad.abs().sum() > 0, name
        torch.testing.assert_close(p.grad, parameters[name].grad, rtol=1e-9, atol=1e-11, msg=name)


def check_agreement(ours, theirs, x, convert=dict):
    """Load the other module's weights and assert equal outputs and gradients, in float64.

    ``convert`` maps a dict with their names, of weights or of gradients, to one with ours.
    """
    ours, theirs = ours.double(), theirs.double()
    found = ours.load_state_dict(convert(theirs.state_dict()), strict=False)
    assert not found.unexpected_keys
    one, other = (x.double().clone().requires_grad_() for _ in range(2))
    out, expected = ours(one), theirs(other)
    torch.testing.assert_close(out, expected)
    weight = smooth_map(*out.shape, seed=3)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(one.grad, other.grad)
    parameters = dict(ours.named_parameters())
    gradients = convert({name: p.grad for name, p in theirs.named_parameters()})
    assert gradients and gradients.keys() <= parameters.keys()
    assert any(gradient.abs().sum() > 0 for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(parameters[name].grad, gradient, msg=name)


def timm_layer(file, name):
    """Return a class from ``timm/layers/`` without importing timm's ``__init__`` or torchvision."""
    try:
        root = str(importlib.metadata.distribution('timm').locate_file('timm'))
    except importlib.metadata.PackageNotFoundError:
        pytest.skip('timm is not installed')
    stubs = {
        name: types.ModuleType(name)
        for name in ('timm', 'timm.layers', 'torchvision', 'torchvision.ops', 'torchvision.ops.misc')
    }
    stubs['timm'].__path__ = [root]
    stubs['timm.layers'].__path__ = [f'{root}/layers']
    stubs['torchvision.ops.misc'].FrozenBatchNorm2d = torch.nn.Module
    with mock.patch.dict(sys.modules, stubs):
        return getattr(importlib.import_module(f'timm.layers.{file}'), name)
