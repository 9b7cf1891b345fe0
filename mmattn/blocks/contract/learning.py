"""Rules on how a block trains."""

from __future__ import annotations

import copy

import torch
from mmengine.model import BaseModule

from mmattn.blocks.base import STARTS
from mmattn.blocks.contract.rules import rule
from mmattn.blocks.contract.subject import SHAPES, Subject, grads_of, is_zero, randomise


@rule('gate', 'additive')
def learns_from_the_identity(subject: Subject) -> None:
    """After one step from start='identity' every parameter has a gradient."""
    torch.manual_seed(0)
    block = subject(128, start='identity')  # wide enough for some hidden units to be open
    x = subject.map(4, 128, 9, 5)
    assert not all(map(is_zero, grads_of(block, x).values())), 'no parameter has a gradient at the start'
    torch.optim.SGD(block.parameters(), lr=1e-3).step()
    still = [name for name, grad in grads_of(block, x).items() if is_zero(grad)]
    still = [name for name in still if not name.endswith(subject.case.without_effect or '?')]
    assert not still, (
        f'after one step no gradient reaches {still}: last_parameters must not be all of a product'
    )


@rule()
def trains_on_any_map(subject: Subject) -> None:
    """All values are finite, on a map of zeros too, and no gradient is missing (DDP would hang)."""
    for start in STARTS:
        for shape in SHAPES:
            block = subject(32, start=start).train()
            for what, x in dict(random=subject.map(*shape), zero=torch.zeros(subject.shape(*shape))).items():
                where = f"start='{start}', a {what} map of {shape}"
                out = block(x.requires_grad_())
                out.sum().backward()
                assert out.shape == x.shape, f'{where}: the output is {tuple(out.shape)}'
                values = {'the output': out, 'the gradient of the map': x.grad, **dict(block.named_buffers())}
                for name, p in block.named_parameters():
                    assert p.grad is not None, f'{where}: {name} has no gradient'
                    values[f'the gradient of {name}'] = p.grad
                for name, value in values.items():
                    assert torch.isfinite(value).all(), f'{where}: {name} is not finite'


@rule()
def has_the_gradients_of_finite_differences(subject: Subject) -> None:
    """All gradients are those of finite differences, in float64."""
    block = randomise(subject(5)).double()
    x = subject.map(2, 5, 3, 4, dtype=torch.float64).requires_grad_()
    names = [name for name, _ in block.named_parameters()]

    def f(x, *parameters):
        return torch.func.functional_call(block, dict(zip(names, parameters)), (x,))

    assert torch.autograd.gradcheck(f, (x, *block.parameters()))


@rule()
def keeps_its_start_in_a_parent(subject: Subject) -> None:
    """FPN's Xavier and ResNet's Kaiming init, a parent's init_cfg, do not change the start."""

    class Parent(BaseModule):
        def __init__(self, start):
            super().__init__(
                init_cfg=[
                    dict(type='Constant', layer=['Conv1d', 'Conv2d', 'Linear'], val=0.7, bias=0.3),
                    dict(type='Constant', layer='_BatchNorm', val=0.9),
                ]
            )
            self.block = subject(32, start=start)

    for start in STARTS:
        torch.manual_seed(0)
        parent = Parent(start)
        before = copy.deepcopy(parent.block.state_dict())
        another = subject(32, start=start).state_dict()
        parent.init_weights()
        for name, value in parent.block.state_dict().items():
            if another[name].equal(before[name]):  # a constant, such as a zero bias
                assert value.equal(before[name]), f'{name} is changed'
            elif value.numel() < 10:  # too few values to estimate a distribution
                assert not torch.isin(value, torch.tensor([0.7, 0.3, 0.9])).any(), f'{name} is changed'
            else:  # drawn again from the same distribution
                spread = value.std() / before[name].std()
                assert value.unique().numel() > 1 and 0.3 < spread < 3, f'{name} is changed'
                assert value.mean().abs() < 0.5, f'{name} is changed'
        if start == 'identity' and subject.role != 'convolution':
            x = torch.randn(subject.shape(2, 32, 5, 5))
            assert parent.block(x).equal(x), 'it is no longer the identity'


@rule()
def is_deterministic(subject: Subject) -> None:
    """Two backward passes give the same bits, also with equal maxima."""
    block = randomise(subject(32)).train()
    state = copy.deepcopy(block.state_dict())
    x = torch.relu(subject.map(2, 32, 9, 6)).requires_grad_()
    torch.use_deterministic_algorithms(True)
    try:
        results = []
        for _ in range(2):
            block.load_state_dict(state)
            x.grad = None
            results.append([*grads_of(block, x).values(), x.grad])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(one.equal(two) for one, two in zip(*results)), 'a gradient differs from one pass to the next'
