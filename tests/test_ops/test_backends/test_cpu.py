"""The library in C is compiled where it can be, kept, and not loaded from where others may write."""

import ctypes
import functools
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmattn import ops
from mmattn.blocks import CBAM
from mmattn.ops import dispatch
from mmattn.ops.backends import cpu
from mmattn.ops.backends.base import Gates
from tests.test_ops.oracle import computed, expected, gradients, leaves

SOURCES = Path(cpu.__file__).parent
SMALL = (
    'import torch; from mmattn import ops; from mmattn.ops.dispatch import *; '
    'from mmattn.blocks import CBAM; x = torch.rand(2, 8, 5, 4); '
)


def run(code, **env):
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env={**os.environ, **env}
    )


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Let the backend look for its library as in a new process; return who computes, and why not in C."""

    def start(**variables):
        for name, value in {'MMATTN_CACHE': str(tmp_path / 'cache'), **variables}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(cpu, '_library', functools.lru_cache(None)(cpu._library.__wrapped__))
        x = torch.rand(2, 8, 5, 4)
        with ops.backend('auto'):
            assert torch.isfinite(CBAM(8)(x)).all()
            return dispatch.backend_for(x), dispatch.missing_reason('cpu')

    return start


def test_without_a_compiler_aten_computes(started):
    assert started(PATH='/nonexistent', CC='') == ('aten', 'no C compiler was found ($CC, cc, gcc)')


def test_with_a_compiler_that_fails(started, tmp_path):
    compiler = tmp_path / 'cc'
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "no such flag" >&2; exit 1; }\n')
    compiler.chmod(0o755)
    backend, reason = started(CC=str(compiler))
    assert backend == 'aten' and reason.endswith('or it cannot be loaded: no such flag')


def test_where_nothing_can_be_written(started, tmp_path):
    (tmp_path / 'file').touch()
    assert started(MMATTN_CACHE=str(tmp_path / 'file' / 'cache'))[0] == 'aten'


@pytest.mark.parametrize('compiler', ['gcc "', '/nonexistent/cc'])
def test_a_compiler_that_is_none(compiler, started):
    assert started(CC=compiler)[0] == 'aten'


def test_what_was_compiled_is_kept(started, tmp_path):
    if dispatch.missing_reason('cpu'):
        pytest.skip(dispatch.missing_reason('cpu'))
    found = []
    for _ in range(2):
        assert started() == ('cpu', '')
        (file,) = (tmp_path / 'cache' / 'kernels').iterdir()
        found.append((file.name, file.stat().st_mtime_ns))
    assert found[0] == found[1] and found[0][0].startswith('cpu_kernels-')


@pytest.fixture
def planted(tmp_path):
    """A cache with another library under the name of ours; it creates a file when it is loaded."""
    if dispatch.missing_reason('cpu'):
        pytest.skip(dispatch.missing_reason('cpu'))
    done = run(f'import os; os.umask(0); {SMALL}print(backend_for(x))', MMATTN_CACHE=str(tmp_path / 'cache'))
    assert done.stdout == 'cpu\n' and not done.stderr
    (library,) = (tmp_path / 'cache' / 'kernels').iterdir()
    (tmp_path / 'evil.c').write_text(
        '#include <stdio.h>\n__attribute__((constructor)) void f(void)'
        f'{{ fclose(fopen("{tmp_path / "marker"}", "w")); }}'
    )
    compiler = os.environ.get('CC') or 'cc'
    subprocess.run([*compiler.split(), '-shared', '-fPIC', tmp_path / 'evil.c', '-o', library], check=True)
    return library


@pytest.mark.parametrize('mode, safe', [(0o700, True), (0o755, True), (0o775, False), (0o757, False)])
def test_what_others_may_write_to_is_not_the_users_alone(mode, safe, tmp_path):
    file = tmp_path / 'file'
    for path in (file, tmp_path):
        file.touch()
        path.chmod(mode)
        assert cpu._is_mine_alone(path) is safe
    if os.geteuid() == 0:
        os.chown(file, 12345, -1)
        assert not cpu._is_mine_alone(file)


@pytest.mark.slow
def test_a_library_that_others_could_have_put_there_is_not_loaded(planted, tmp_path):
    library, marker = planted, tmp_path / 'marker'
    library.chmod(0o755)

    def backend():
        code = SMALL + 'CBAM(8)(x); CBAM(8)(x); print(backend_for(x))'
        done = run(code, MMATTN_CACHE=str(tmp_path / 'cache'))
        return done.stdout.split()[-1:], done.stdout + done.stderr

    backend()
    assert marker.exists()  # it is loaded where it is the user's alone
    marker.unlink()

    def refused(unsafe):
        used, said = backend()
        assert not marker.exists()
        assert used == ['cpu']  # compiled anew
        assert said.count(f"'{unsafe}' belongs to somebody else, or others may write to it") == 1

    library.chmod(0o775)
    refused(library)
    library.chmod(0o755)
    library.parent.chmod(0o777)
    refused(library.parent)
    if os.geteuid() == 0:  # who alone can give a file away
        library.parent.chmod(0o755)
        os.chown(library, 12345, 12345)
        refused(library)


@pytest.fixture
def needs_compiler():
    if dispatch.missing_reason('cpu'):
        pytest.skip(dispatch.missing_reason('cpu'))


CUTS = """
#include <stdio.h>
#include "{kernels}"

/* How often each channel and position of a map is the work of a job; -1 if a job has none. */
int count(len n, len c, len p, int *times) {{
    cut by = cut_map(n, c, p);
    for (len job = 0; job < by.jobs; job++) {{
        piece at = piece_of(job, by, c, p);
        if (at.size < 1 || at.size > TILE || at.last <= at.first || p >= LANES && at.size < LANES) return -1;
        for (len k = at.first; k < at.last; k++)
            for (len i = 0; i < at.size; i++) times[(at.image * c + k) * p + at.from + i]++;
    }}
    return (int)by.jobs;
}}

/* The same for the parts of a row that are summed one after the other; -1 if one is shorter than a vector. */
int count_flushes(len p, int *times) {{
    for (len s = 0; s < flushes(p); s++) {{
        len from = flush_from(s, p), to = flush_from(s + 1, p);
        if (to <= from || p >= LANES && to - from < LANES) return -1;
        for (len i = from; i < to; i++) times[i]++;
    }}
    return (int)flushes(p);
}}
int at_most(len elements, len jobs, int threads) {{ return workers(elements, jobs, threads); }}
"""


@pytest.fixture(scope='module', params=['', '-DLANES=1', '-DLANES=4'])
def cuts(request, tmp_path_factory):
    """How the library cuts its work, compiled for vectors of different width."""
    if dispatch.missing_reason('cpu'):
        pytest.skip(dispatch.missing_reason('cpu'))
    folder = tmp_path_factory.mktemp('cuts')
    (folder / 'cuts.c').write_text(CUTS.format(kernels=SOURCES / 'kernels.c'))
    compiler = shlex.split(os.environ.get('CC') or shutil.which('cc') or 'gcc')
    flags = [*request.param.split(), '-O0', '-w', '-shared', '-fPIC']
    subprocess.run([*compiler, *flags, folder / 'cuts.c', '-o', folder / 'cuts.so', '-lm'], check=True)
    library = ctypes.CDLL(str(folder / 'cuts.so'))
    for name, sizes in dict(count=3, count_flushes=1).items():
        getattr(library, name).argtypes = [*[ctypes.c_int64] * sizes, ctypes.c_void_p]
    library.at_most.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_int]
    return library


@pytest.mark.parametrize('channels', [1, 3, 255, 256, 513, 2048])
def test_jobs_are_all_of_a_map_and_none_is_without_work(channels, cuts):
    for images, positions in [(1, 1), (3, 15), (2, 16), (1, 17), (1, 49), (2, 1050), (1, 2049), (1, 6143)]:
        times = torch.zeros(images, channels, positions, dtype=torch.int32)
        assert cuts.count(*times.shape, times.data_ptr()) > 0, times.shape
        assert (times == 1).all(), times.shape


def test_parts_of_a_row_are_all_of_it(cuts):
    for positions in [1, 15, 16, 17, 2047, 2048, 2049, 4097, 67200]:
        times = torch.zeros(positions, dtype=torch.int32)
        assert cuts.count_flushes(positions, times.data_ptr()) > 0, positions
        assert (times == 1).all(), positions


def test_no_thread_is_woken_without_a_job(cuts):
    assert cuts.count(1, 2048, 49, torch.zeros(2048, 49, dtype=torch.int32).data_ptr()) == 8
    assert cuts.at_most(2048 * 49, 8, 64) == 6  # little work
    assert cuts.at_most(2**30, 8, 64) == 8  # few jobs
    assert cuts.at_most(2**30, 1000, 64) == 64
    assert cuts.at_most(1, 1, 64) == 1


@pytest.mark.parametrize('width', ['1', pytest.param('4', marks=pytest.mark.slow)])
def test_with_narrower_vectors(width, started):
    compiler = os.environ.get('CC') or shutil.which('cc') or 'gcc'
    assert started(CC=f'{compiler} -DLANES={width}') == ('cpu', '')
    use = ('avg', 'max', 'stats', 'out')
    for shape in [(2, 9, 3, 43), (1, 4, 2, 1)]:
        for dtype, tolerance in {torch.float32: 2e-5, torch.bfloat16: 1.6e-2}.items():
            inputs = leaves(shape, dtype, 'nchw')
            with ops.backend('cpu'):
                made = computed(*inputs, use)
            right = expected(*inputs, use)
            found = [*made.values(), *gradients(made, inputs, dtype)]
            wanted = [*right.values(), *gradients(right, inputs, dtype)]
            for one, other in zip(found, wanted, strict=True):
                scale = max(other.abs().max().item(), 1)
                torch.testing.assert_close(
                    one / scale, other / scale, rtol=0, atol=tolerance, check_dtype=False
                )


@pytest.mark.skipif(not Path('/sys/kernel/mm/transparent_hugepage').exists(), reason='no large pages here')
def test_new_maps_ask_for_large_pages(needs_compiler):
    def flags(address):
        """Return those of the part of memory that holds an address."""
        inside = False
        for line in Path('/proc/self/smaps').read_text().splitlines():
            first = line.split()[0]
            if '-' in first and not first.endswith(':'):
                start, end = (int(part, 16) for part in first.split('-'))
                inside = start <= address < end
            elif inside and first == 'VmFlags:':
                return line.split()[1:]

    x = torch.zeros(2, 64, 256, 256)
    y = cpu.apply_gates(x, Gates(torch.ones(2, 64, 1, 1), None))
    middle = y.numel() * y.element_size() // 2
    assert 'hg' in flags(y.data_ptr() + middle)
    assert 'hg' not in flags(x.data_ptr() + middle)
