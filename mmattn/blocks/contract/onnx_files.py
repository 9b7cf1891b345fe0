"""Rules on blocks as ONNX files: both of PyTorch's exporters write them, ONNX Runtime runs them."""

from __future__ import annotations

import importlib.util
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmattn.blocks.contract.rules import NotChecked, rule
from mmattn.blocks.contract.subject import Subject, randomise
from mmattn.blocks.eval_mode import in_eval_mode

EXPORTED_AT = (2, 32, 9, 6)
MAPS = [EXPORTED_AT, (3, 32, 21, 4), (1, 32, 1, 5), (1, 32, 1, 1)]
"""Shapes that one file is run on; the batch counts clips, for a block along frames."""


def _torchscript(block: nn.Module, x: Tensor, file: str, opset: int, frames: int) -> None:
    torch.onnx.export(
        block,
        (x,),
        file,
        input_names=['x'],
        opset_version=opset,
        dynamo=False,
        dynamic_axes={'x': {0: 'n', 2: 'h', 3: 'w'}},
    )


def _dynamo(block: nn.Module, x: Tensor, file: str, opset: int, frames: int) -> None:
    dim = torch.export.Dim
    sizes = {0: frames * dim('n', max=64), 2: dim('h', max=512), 3: dim('w', max=512)}
    torch.onnx.export(
        block,
        (x,),
        file,
        input_names=['x'],
        opset_version=opset,
        dynamo=True,
        dynamic_shapes=(sizes,),
        verbose=False,
    )


class Exporter(NamedTuple):
    """One of PyTorch's exporters.

    Attributes:
        export: Writes a block with N, H and W left open: ``(block, map, file, opset, frames of a clip)``.
        call: How a user calls it.
        remedy: What to change in a block that it cannot export.
    """

    export: Callable[[nn.Module, Tensor, str, int, int], None]
    call: str
    remedy: str


_SIZES = 'use sizes of the map in arithmetic alone, not in int(), max() or if'
EXPORTERS = {
    'torchscript': Exporter(
        _torchscript,
        'torch.onnx.export(..., opset_version={opset}, dynamo=False)',
        f'write it by operators of this opset, such as ops.unflatten for Tensor.unflatten, and {_SIZES}',
    ),
    'dynamo': Exporter(
        _dynamo,
        'torch.onnx.export(..., opset_version={opset}, dynamo=True)',
        f'let no value of the map decide what is computed, and {_SIZES}',
    ),
}
"""Both exporters by name."""


class Difference(NamedTuple):
    """How the output of ONNX Runtime differs from PyTorch's on a map.

    Attributes:
        shape: The shape of the map.
        largest: The largest absolute difference; not a number if a value of only one is not a number.
        relative: The same as a share of the output's largest value, where that is above 1.
    """

    shape: tuple[int, ...]
    largest: float
    relative: float


class Outcome(NamedTuple):
    """What became of an exported block.

    Attributes:
        opset: The opset of the file, which may not be the one that was asked for.
        differences: From PyTorch, on each of ``MAPS``.
        constants: Where torch.jit.trace made a constant of a size or of a condition, as ``file.py:12``.
    """

    opset: int
    differences: list[Difference]
    constants: list[str]

    @property
    def largest(self) -> float:
        """The largest difference on any map."""
        return torch.tensor([each.largest for each in self.differences]).max().item()  # which keeps NaN


def run_exported(subject: Subject, exporter: str, opset: int) -> Outcome:
    """Export a block with random weights, and compare the file with PyTorch.

    Raises:
        AssertionError: It cannot be exported, or ONNX Runtime cannot run the file.
        NotChecked: ONNX or ONNX Runtime is not installed.
    """
    for module in ('onnx', 'onnxscript', 'onnxruntime'):
        if importlib.util.find_spec(module) is None:
            raise NotChecked(f'{module} is not installed')
    import onnx
    import onnxruntime

    export, call, remedy = EXPORTERS[exporter]
    call = call.format(opset=opset)
    block = randomise(subject(32))
    with in_eval_mode(block), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, 'block.onnx'))
        try:
            with _no_output(), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter('always')
                export(block, subject.map(*EXPORTED_AT), file, opset, subject.case.frames)
            opsets = {each.domain: each.version for each in onnx.load(file).opset_import}
            session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
        except Exception as error:  # an exporter fails in many ways
            raise AssertionError(f'{call} fails: {_reason(error)}; {remedy}') from error
        warned = [each for each in caught if issubclass(each.category, torch.jit.TracerWarning)]
        constants = [f'{Path(each.filename).name}:{each.lineno}' for each in warned]
        found = []
        for shape in MAPS:
            x = subject.map(*shape)
            expected = block(x)
            try:
                (got,) = session.run(None, {'x': x.numpy()})
            except Exception as error:
                raise AssertionError(
                    f'ONNX Runtime cannot run the file of {call} on a map of {shape}: '
                    f'{_because(constants)}; {remedy}'
                ) from error
            found.append(_difference(shape, torch.from_numpy(got), expected))
    return Outcome(opsets[''], found, constants)


@contextmanager
def _no_output() -> Iterator[None]:
    """Nothing is printed: torch.onnx prints the graph of a failed export, from C++."""
    print(end='', flush=True)
    kept = os.dup(1)
    try:
        with open(os.devnull, 'wb') as nothing:
            os.dup2(nothing.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _difference(shape: tuple[int, ...], got: Tensor, expected: Tensor) -> Difference:
    if got.shape != expected.shape:
        return Difference(shape, math.inf, math.inf)
    largest = (got - expected).abs().max().item()
    return Difference(shape, largest, largest / max(expected.abs().max().item(), 1))


def _because(constants: list[str]) -> str:
    lines = f' ({", ".join(constants)})' if constants else ''
    return f'exported at {EXPORTED_AT}, it has constants where the block has sizes or conditions{lines}'


def _reason(error: BaseException) -> str:
    """The first line of an error's cause: torch.onnx wraps that in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0] if lines else "no message"}'


def _check(subject: Subject, exporter: str, opset: int) -> None:
    _, call, remedy = EXPORTERS[exporter]
    outcome = run_exported(subject, exporter, opset)
    for shape, largest, relative in outcome.differences:
        assert relative <= 1e-4, (
            f'the file of {call.format(opset=opset)} differs from PyTorch by {largest:.3g} on a map of '
            f'{shape}: {_because(outcome.constants)}; {remedy}'
        )


@rule()
def runs_as_onnx(subject: Subject) -> None:
    """ONNX Runtime gives the same results, on maps of other sizes too: the dynamo exporter at opset 18."""
    _check(subject, 'dynamo', 18)


@rule()
def runs_as_onnx_by_torchscript(subject: Subject) -> None:
    """ONNX Runtime does so too with the TorchScript exporter at opset 11, as mmdeploy exports."""
    _check(subject, 'torchscript', 11)
