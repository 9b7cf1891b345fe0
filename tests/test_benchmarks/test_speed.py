"""The page says what was measured, and what is measured is what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmattn import blocks, ops
from tests.test_blocks.helpers import randomise, smooth_map

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))
import gpu_check  # noqa: E402
import map_traffic  # noqa: E402
import speed_page  # noqa: E402
from official import FORMULAS  # noqa: E402


def test_the_committed_page_is_of_the_committed_files():
    text = speed_page.PAGE.read_text(encoding='utf-8')
    assert speed_page.page(text) == text


@pytest.mark.parametrize('block_name', FORMULAS)
@pytest.mark.parametrize('training', [True, False])
def test_the_official_formulas_are_our_blocks(block_name, training):
    block = randomise(getattr(blocks, block_name)(32)).train(training)
    one, other = (smooth_map(2, 32, 9, 7, dtype=torch.float32).requires_grad_() for _ in range(2))
    weight = smooth_map(2, 32, 9, 7, dtype=torch.float32, seed=2)
    with ops.backend('plain'):
        out, expected = block(one), FORMULAS[block_name](block, other)
    torch.testing.assert_close(out, expected)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


# Written down by hand: reads and writes of whole maps, forward and backward, as docs/speed.md has them.
ON_PAPER = dict(SE=(3, 4), ECA=(3, 4), ChannelAttention=(3, 5), SpatialAttention=(3, 5), CBAM=(4, 6))


@pytest.mark.parametrize('block_name', ON_PAPER)
@pytest.mark.parametrize('backend', ['aten', 'cpu'])
def test_our_map_traffic_is_that_on_paper(block_name, backend):
    block, x = randomise(getattr(blocks, block_name)(32)), smooth_map(2, 32, 9, 7, dtype=torch.float32)
    with ops.backend(backend):
        assert map_traffic.ours(block, x) == ON_PAPER[block_name]


def test_map_traffic_of_plain_pytorch_is_counted():
    x = smooth_map(2, 32, 9, 7, dtype=torch.float32)
    assert map_traffic.eager(lambda x: x * 2 + 1, x) == (4, 2)
    assert map_traffic.eager(lambda x: x.mean((2, 3), keepdim=True), x)[0] == 1
    gate = torch.rand(2, 32, 1, 1)
    assert map_traffic.eager(lambda x: x * gate.expand_as(x), x) == (2, 2)


def test_what_a_gpu_is_checked_by(monkeypatch):
    monkeypatch.setattr(gpu_check, 'BLOCKS', ('SE', 'CBAM'))
    monkeypatch.setattr(
        gpu_check, 'CHECKS', [check for check in gpu_check.CHECKS if check.__name__ != 'compiled']
    )
    assert gpu_check.main(['--device', 'cpu', '--backend', 'aten', '--sizes', '2']) == 0


def test_a_check_that_fails_is_reported(monkeypatch, tmp_path):
    def broken(x, *args):
        return {name: value * 1.001 for name, value in real(x, *args).items()}

    real = gpu_check.computed
    monkeypatch.setattr(gpu_check, 'computed', broken)
    monkeypatch.setattr(gpu_check, 'CHECKS', [gpu_check.values_and_gradients])
    file = tmp_path / 'check.json'
    assert (
        gpu_check.main(['--device', 'cpu', '--backend', 'aten', '--sizes', '1', '--output', str(file)]) == 1
    )
    assert 'relative error' in json.loads(file.read_text())['checks']['values_and_gradients']


@pytest.mark.slow
def test_everything_for_a_gpu_in_one_call(tmp_path):
    """On the CPU, by Triton's interpreter, on little."""
    file = tmp_path / 'all.json'
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / 'benchmarks/gpu_all.py'),
            '--device',
            'cpu',
            '--output',
            str(file),
            '--minutes',
            '60',
            '--check-args',
            '--sizes 1 --skip compiled automatic_mixed_precision',
            '--blocks-args',
            '--maps layer4 --dtypes fp32 --blocks SE --ways official ours --repeats 2',
            '--tails-args',
            '--blocks SE --size 32 32 --repeats 2',
            '--detectors-args',
            '--detectors RetinaNet --size 128 160 --repeats 2',
        ],
        capture_output=True,
        text=True,
    )
    found = json.loads(file.read_text())
    assert done.returncode == 0, (done.stdout, done.stderr, found)
    assert set(found['check']['checks'].values()) == {'ok'}
    assert found['blocks']['ended'] == 'ok' and len(found['blocks']['rows']) == 2
    assert found['lacking'] or found['detectors']['ended'] == found['tails']['ended'] == 'ok'
    assert 'torch' in found['check']['machine']['versions']
