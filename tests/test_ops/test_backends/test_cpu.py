"""The library in C is compiled where it can be, kept, and not loaded from where others may write."""

import functools
import os
import subprocess
import sys

import pytest
import torch

from mmattn import ops
from mmattn.blocks import CBAM
from mmattn.ops import dispatch
from mmattn.ops.backends import cpu

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
