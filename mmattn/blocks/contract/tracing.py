"""Rules on blocks as graphs: compiled and exported."""

from __future__ import annotations

import copy

import torch

from mmattn.blocks.contract.rules import rule
from mmattn.blocks.contract.subject import Subject, grads_of, randomise


@rule()
def compiles(subject: Subject) -> None:
    """``torch.compile`` takes it without a graph break, with and without the backward pass."""
    torch.compiler.reset()
    block = randomise(subject(32)).eval()
    compiled = torch.compile(block, fullgraph=True, backend='aot_eager')
    for shape in ((2, 32, 9, 6), (1, 32, 5, 12)):
        x = subject.map(*shape)
        torch.testing.assert_close(compiled(x), block(x))
        with torch.autocast('cpu', torch.bfloat16):
            torch.testing.assert_close(compiled(x.bfloat16()), block(x.bfloat16()))


@rule()
def trains_compiled(subject: Subject) -> None:
    """Compiled with its backward pass, a block gives the same output, gradients and statistics."""
    torch.compiler.reset()
    plain = randomise(subject(32)).train()
    other = copy.deepcopy(plain)
    compiled = torch.compile(other, fullgraph=True, backend='aot_eager')
    for shape in ((2, 32, 9, 6), (3, 32, 5, 12)):
        x, y = (subject.map(*shape).requires_grad_() for _ in range(2))
        expected, got = grads_of(plain, x), grads_of(other, y, compiled)
        torch.testing.assert_close(y.grad, x.grad, rtol=1e-4, atol=1e-5)
        for name in expected:
            torch.testing.assert_close(got[name], expected[name], rtol=1e-4, atol=1e-4, msg=name)
        for one, another in zip(other.buffers(), plain.buffers()):
            torch.testing.assert_close(one, another)


@rule()
def exports(subject: Subject) -> None:
    """``torch.export`` gives a program for maps of other sizes."""
    block = randomise(subject(32)).eval()
    dim = torch.export.Dim
    sizes = {
        0: subject.case.frames * dim('n', min=1, max=64),
        2: dim('h', min=1, max=512),
        3: dim('w', min=1, max=512),
    }
    program = torch.export.export(block, (subject.map(2, 32, 9, 6),), dynamic_shapes=(sizes,))
    for shape in ((2, 32, 9, 6), (3, 32, 21, 4)):
        x = subject.map(*shape)
        torch.testing.assert_close(program.module()(x), block(x))
