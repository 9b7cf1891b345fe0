"""Helpers for the tests of blocks."""

import copy
import importlib
import importlib.metadata
import sys
import types
from unittest import mock

import pytest
import torch
from torch import nn

from mmattn.blocks.contract import off_by, randomise, results_of, smooth_map  # noqa: F401  for all tests


def check_against(reference, block, x):
    """Assert that block and reference agree in value and in every gradient, in float64; nearly, in half."""
    norms = [each for each in block.modules() if isinstance(each, (nn.BatchNorm1d, nn.BatchNorm2d))]
    if not any(norm.training for norm in norms):  # statistics of three images amplify what rounding does
        for dtype in (torch.float16, torch.bfloat16):
            check_half_model(reference, block, x, dtype)
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


def check_half_model(reference, block, x, dtype):
    """Assert that a model in half precision comes near to the reference, which computes in float64."""
    half, x = copy.deepcopy(block).to(dtype), x.to(dtype)
    rounded = {name: p.detach().double().requires_grad_() for name, p in half.named_parameters()}
    buffers = {name: b.double() for name, b in half.named_buffers()}
    exact = results_of(lambda y: reference(y, {**buffers, **rounded}), x.double(), rounded)
    problem = off_by(results_of(half, x, dict(half.named_parameters())), exact, dtype)
    assert not problem, problem


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
