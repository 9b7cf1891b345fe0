"""Rules on blocks as ONNX files: both of PyTorch's exporters write them, ONNX Runtime runs them."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
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


class Outcome(NamedTuple):
    """What became of an exported block.

    Attributes:
        opset: The opset of the file, which may not be the one that was asked for.
        differences: By how much ONNX Runtime's output differs from PyTorch's on each of ``MAPS``.
        constants: Where torch.jit.trace made a constant of a size or of a condition, as ``file.py:12``.
    """

    opset: int
    differences: dict[tuple[int, ...], float]
    constants: list[str]


def run_exported(subject: Subject, exporter: str, opset: int) -> Outcome:
    """Export a block with random weights, and compare the file with PyTorch.

    Raises:
        AssertionError: It cannot be exported, or ONNX Runtime refuses the file.
        NotChecked: ONNX or ONNX Runtime is not installed.
    """
    for module in ('onnx', 'onnxscript', 'onnxruntime'):
        if importlib.util.find_spec(module) is None:
            raise NotChecked(f'{module} is not installed')
    import onnx
    import onnxruntime

    export, call, remedy = EXPORTERS[exporter]
    block = randomise(subject(32))
    with in_eval_mode(block), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, 'block.onnx'))
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter('always')
                export(block, subject.map(*EXPORTED_AT), file, opset, subject.case.frames)
            opsets = {each.domain: each.version for each in onnx.load(file).opset_import}
            session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
        except Exception as error:  # an exporter fails in many ways
            raise AssertionError(f'{call.format(opset=opset)} fails: {_reason(error)}; {remedy}') from error
        found = {}
        for shape in MAPS:
            x = subject.map(*shape)
            (got,) = session.run(None, {'x': x.numpy()})
            found[shape] = (torch.from_numpy(got) - block(x)).abs().max().item()
    constants = [each for each in caught if issubclass(each.category, torch.jit.TracerWarning)]
    return Outcome(opsets[''], found, [f'{Path(each.filename).name}:{each.lineno}' for each in constants])


def _reason(error: BaseException) -> str:
    """The first line of an error's cause: torch.onnx wraps that in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0] if lines else "no message"}'


def _check(subject: Subject, exporter: str, opset: int) -> None:
    _, call, remedy = EXPORTERS[exporter]
    outcome = run_exported(subject, exporter, opset)
    lines = f' ({", ".join(outcome.constants)})' if outcome.constants else ''
    for shape, difference in outcome.differences.items():
        assert difference <= 1e-4, (
            f'the file of {call.format(opset=opset)} differs from PyTorch by {difference:.3g} on a map of '
            f'{shape}: exported at {EXPORTED_AT}, it has constants where the block has sizes or '
            f'conditions{lines}; {remedy}'
        )


@rule()
def runs_as_onnx(subject: Subject) -> None:
    """ONNX Runtime gives the same results, on maps of other sizes too."""
    _check(subject, 'dynamo', 18)


@rule()
def runs_as_onnx_by_torchscript(subject: Subject) -> None:
    """So it does with the TorchScript exporter at opset 11, as mmdeploy exports it."""
    _check(subject, 'torchscript', 11)
