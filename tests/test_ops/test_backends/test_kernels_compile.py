"""Triton's compiler needs no GPU: kernels compile for several generations, and move 16 bytes at a time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(
    scope='module',
    params=[
        ('90', 'bf16'),
        *(
            pytest.param((each, 'fp32,bf16,fp16'), marks=pytest.mark.slow)
            for each in ('75', '80', '90', '100')
        ),
    ],
    ids='-'.join,
)
def compiled(request, tmp_path_factory):
    pytest.importorskip('triton', reason='Triton is not installed')
    env = {
        **os.environ,
        'TRITON_INTERPRET': '0',
        'PYTHONPATH': str(ROOT),
        'TRITON_CACHE_DIR': str(tmp_path_factory.mktemp('triton')),
    }
    done = subprocess.run(
        [sys.executable, '-m', 'tests.test_ops.test_backends.compile_kernels', *request.param],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kernel_compiles(compiled):
    from mmattn.ops.backends.triton import kernels

    names = {
        name
        for name in vars(kernels)
        if not name.startswith('_')
        and type(getattr(kernels, name)).__name__ in ('InterpretedFunction', 'JITFunction')
    }
    assert {each['kernel'] for each in compiled} == names


def test_maps_are_moved_sixteen_bytes_at_a_time(compiled):
    for each in compiled:
        if each['units'] == 16 and each['kernel'] != 'join':
            assert any('v4.b32' in load for load in each['loads']), each
            if each['kernel'] in ('apply_gates', 'map_backward', 'tail', 'tail_backward'):
                assert any('v4.b32' in store for store in each['stores']), each


def test_no_atomics_and_little_shared_memory(compiled):
    for each in compiled:
        assert not each['atomics'] and each['shared'] <= 48 * 1024, each
