"""Blocks as ONNX files: all opsets and options, the line of tutorials, what is said of other blocks."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mmattn.blocks import CBAM, ECA, SE, AttentionBlock, SKConv
from mmattn.blocks.contract import Subject, breaks, randomise
from mmattn.blocks.contract.onnx_files import Difference, Outcome
from tests.test_blocks.cases import all_blocks

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
PAGE = (Path(__file__).parents[2] / 'docs/export_blocks.md').read_text(encoding='utf-8')
LINES = re.findall(r'^torch\.onnx\.export\(model, x, .*\)$', PAGE, flags=re.MULTILINE)
BLOCKS = all_blocks()


@pytest.fixture
def model():
    """What tutorials export."""
    layers = nn.Conv2d(3, 16, 3, padding=1), SE(16), CBAM(16), SKConv(16, 16, 3, padding=1), ECA(16)
    return randomise(nn.Sequential(*layers)).eval()


def run_line(line, model, image, *others):
    """Run a line of the page in this folder, compare the file with the model, and return the file's opset."""
    exec(line, dict(torch=torch, model=model, x=image))
    session = onnxruntime.InferenceSession('out.onnx', providers=['CPUExecutionProvider'])
    for each in (image, *others):
        (got,) = session.run(None, {session.get_inputs()[0].name: each.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), model(each).detach(), rtol=1e-4, atol=1e-5)
    return {each.domain: each.version for each in onnx.load('out.onnx').opset_import}['']


@pytest.mark.filterwarnings('ignore')  # PyTorch's own, on its exporters
@pytest.mark.parametrize('number, opset', [(0, 18), (1, 11)], ids=['to the letter', 'dynamo=False'])
def test_the_line_of_tutorials(number, opset, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_line(LINES[number], model, torch.randn(1, 3, 32, 48)) == opset
    assert Path('out.onnx.data').exists() == (opset == 18)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('number', range(2))
def test_sizes_left_open_as_the_page_says(number, model, tmp_path, monkeypatch):
    exporter, sizes, opset = re.findall(
        r'^\| `(dynamo=\w+)` \| `(.+)` \| from (\d+) \|$', PAGE, re.MULTILINE
    )[number]
    monkeypatch.chdir(tmp_path)
    line = f"torch.onnx.export(model, x, 'out.onnx', opset_version={opset}, {exporter}, {sizes})"
    maps = [torch.randn(shape) for shape in ((2, 3, 32, 48), (1, 3, 7, 9), (3, 3, 1, 1))]
    assert run_line(line, model, *maps) == int(opset)


def test_a_trace_of_a_block_warns_of_no_constant():
    for name, subject in BLOCKS.items():
        block = randomise(subject(32)).eval()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            torch.jit.trace(block, subject.map(2, 32, 9, 6), check_trace=False)
        constants = [each for each in caught if issubclass(each.category, torch.jit.TracerWarning)]
        assert not constants, (name, str(constants[0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    'name, option, value',
    [
        pytest.param(name, option, value, id=f'{name}-{option}={value}')
        for name, subject in BLOCKS.items()
        for option, values in subject.case.values.items()
        for value in values
    ],
)
def test_every_option_by_torchscript(name, option, value):
    case = BLOCKS[name].case
    subject = Subject(BLOCKS[name].cls, replace(case, options={**case.options, option: value}))
    assert not breaks('runs_as_onnx_by_torchscript', subject)


class Own(AttentionBlock):
    """A block of a user's, whose gate is of the map's means times its :meth:`factor`."""

    _abbr_ = 'own'

    def __init__(self, in_channels, start='paper', init_cfg=None):
        super().__init__(in_channels, start, init_cfg)
        self.reset_start()

    def gates(self, x):
        return {'channel': torch.sigmoid(x.mean((2, 3), keepdim=True) * self.factor(x))}

    def reset_parameters(self):
        pass


class ByUnflatten(Own):
    def factor(self, x):
        return x.mean((2, 3)).unflatten(1, (4, 8)).sum(2).mean()


class ByNumber(Own):
    def factor(self, x):
        return 1 / max(x.shape[2] * x.shape[3] - 1, 1)


class ByReshape(Own):
    def factor(self, x):
        return x.reshape([int(size) for size in x.shape]).mean()


class ByValue(Own):
    def factor(self, x):
        return 1 if x.mean() > 0 else 2


@pytest.mark.parametrize(
    'block, rule, text',
    [
        (
            ByUnflatten,
            'runs_as_onnx_by_torchscript',
            r'torch\.onnx\.export\(\.\.\., opset_version=11, dynamo=False\) fails: UnsupportedOperatorError: '
            r"Exporting the operator 'aten::unflatten' to ONNX opset version 11 is not supported.*; "
            r'write it by operators of this opset, such as ops\.unflatten for Tensor\.unflatten, and use '
            r'sizes of the map in arithmetic alone, not in int\(\), max\(\) or if',
        ),
        (
            ByNumber,
            'runs_as_onnx_by_torchscript',
            r'the file of torch\.onnx\.export\(\.\.\., opset_version=11, dynamo=False\) differs from PyTorch '
            r'by 0\.\d+ on a map of \(1, 32, 1, 1\): exported at \(2, 32, 9, 6\), it has constants where the '
            r'block has sizes or conditions \(test_onnx_files\.py:\d+\); write it',
        ),
        (
            ByReshape,
            'runs_as_onnx_by_torchscript',
            r'ONNX Runtime cannot run the file of torch\.onnx\.export\(\.\.\., opset_version=11, '
            r'dynamo=False\) on a map of \(3, 32, 21, 4\): exported at \(2, 32, 9, 6\), it has constants '
            r'where the block has sizes or conditions \((test_onnx_files\.py:\d+(, )?)+\); write it',
        ),
        pytest.param(
            ByValue,
            'runs_as_onnx',
            r'torch\.onnx\.export\(\.\.\., opset_version=18, dynamo=True\) fails: \w+: .*; let no value of '
            r'the map decide what is computed, and use sizes',
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_a_block_lacks_is_said(block, rule, text, capfd):
    said = breaks(rule, Subject(block))
    assert re.match(text, said), said
    assert capfd.readouterr().out == ''  # PyTorch would print the graph


def test_not_a_number_is_the_largest_difference():
    outcome = Outcome(
        11, [Difference((1,), 1e-7, 1e-7), Difference((2,), float('nan'), 0), Difference((3,), 1, 1)], []
    )
    assert outcome.largest != outcome.largest
