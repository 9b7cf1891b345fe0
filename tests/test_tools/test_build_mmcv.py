"""The fast build of mmcv's ops: the stand-in for ninja, the kept wheels, the fall-back."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEV = Path(__file__).resolve().parents[2] / 'tools' / 'dev'

needs_compiler = pytest.mark.skipif(
    not (shutil.which('c++') and shutil.which('ninja')), reason='needs c++ and ninja on PATH'
)


@pytest.fixture
def build_mmcv(monkeypatch):
    monkeypatch.syspath_prepend(str(DEV))
    sys.modules.pop('build_mmcv', None)
    import build_mmcv

    return build_mmcv


@pytest.fixture
def project(tmp_path):
    """What BuildExtension leaves before it calls ninja, for two small sources."""
    folder = tmp_path / 'with space'
    folder.mkdir()
    (folder / 'common.hpp').write_text('#pragma once\ninline int one() { return ONE; }\n')
    for name in 'ab':
        (folder / f'{name}.cpp').write_text(f'#include "common.hpp"\nint {name}() {{ return one(); }}\n')
    (folder / 'build.ninja').write_text(
        'ninja_required_version = 1.3\n'
        'cxx = c++\n\n'
        "cflags = -O1 '-DONE=1'\n"
        'post_cflags = -std=c++17\n'
        'rule compile\n'
        '  command = $cxx $cflags -c $in -o $out $post_cflags\n\n'
        'build a.o: compile a.cpp\n'
        'build b.o: compile b.cpp\n'
    )
    return folder


def run_shim(project, header):
    env = dict(os.environ, MMATTN_REAL_NINJA=shutil.which('ninja'), MMATTN_PCH_HEADER=str(header))
    return subprocess.run(
        [sys.executable, str(DEV / 'ninja_pch.py'), '-v'],
        cwd=project,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@needs_compiler
def test_sources_are_compiled_with_the_precompiled_header(project):
    done = run_shim(project, project / 'common.hpp')
    assert done.returncode == 0, done.stdout
    assert 'precompiled header: ' in done.stdout
    assert (project / 'pch.hpp.gch').is_file() and (project / 'b.o').is_file()
    assert done.stdout.count('-include') == 2
    assert 'invalid-pch' in done.stdout and 'not used because' not in done.stdout


@needs_compiler
def test_a_header_that_does_not_compile_costs_only_time(project):
    (project / 'broken.hpp').write_text('this is no C++\n')
    before = (project / 'build.ninja').read_text()
    done = run_shim(project, project / 'broken.hpp')
    assert done.returncode == 0, done.stdout
    assert 'compiling without it' in done.stdout
    assert (project / 'build.ninja').read_text() == before
    assert (project / 'a.o').is_file() and (project / 'b.o').is_file()


def test_a_kept_wheel_is_for_one_torch_python_and_platform(build_mmcv, monkeypatch, tmp_path):
    import torch

    monkeypatch.setenv('MMATTN_WHEEL_CACHE', str(tmp_path))
    folder = build_mmcv.wheel_folder('onedl-mmcv', '2.3.6')
    assert folder.parent == tmp_path
    assert f'onedl-mmcv2.3.6-torch{torch.__version__}' in folder.name
    assert sys.implementation.cache_tag in folder.name
    seen = {folder}
    seen.add(build_mmcv.wheel_folder('onedl-mmcv', '2.3.7'))
    seen.add(build_mmcv.wheel_folder('mmcv', '2.3.6'))
    monkeypatch.setenv('FORCE_CUDA', '1')
    seen.add(build_mmcv.wheel_folder('onedl-mmcv', '2.3.6'))
    monkeypatch.setattr(torch, '__version__', '9.9.9+cpu')
    seen.add(build_mmcv.wheel_folder('onedl-mmcv', '2.3.6'))
    assert len(seen) == (5 if not torch.cuda.is_available() else 4)


def test_the_cache_follows_xdg(build_mmcv, monkeypatch, tmp_path):
    monkeypatch.delenv('MMATTN_WHEEL_CACHE', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert build_mmcv.wheel_folder('mmcv', '1').parent == tmp_path / 'mmattn' / 'wheels'


def test_a_kept_wheel_whose_ops_do_not_run_is_built_again(build_mmcv, monkeypatch, tmp_path):
    calls = []
    (tmp_path / 'stale.whl').touch()
    monkeypatch.setattr(build_mmcv, 'installed_version', lambda package: None)
    monkeypatch.setattr(build_mmcv, 'ops_work', lambda: False)
    monkeypatch.setattr(build_mmcv, 'wheel_folder', lambda package, version: tmp_path)
    monkeypatch.setattr(build_mmcv, 'install', lambda wheel: calls.append(f'install {wheel.name}'))
    monkeypatch.setattr(
        build_mmcv, 'build', lambda package, version, plain: calls.append(f'build {package} {version}')
    )
    build_mmcv.ensure('onedl-mmcv', '2.3.6')
    assert calls == ['install stale.whl', 'build onedl-mmcv 2.3.6']
    assert not (tmp_path / 'stale.whl').exists()


@pytest.mark.parametrize(
    'installed, package',
    [
        ({}, 'onedl-mmcv'),
        ({'onedl-mmengine': '0.10.12'}, 'onedl-mmcv'),
        ({'mmengine': '0.10.7'}, 'mmcv'),
        ({'mmengine-lite': '0.10.7'}, 'mmcv'),
    ],
)
def test_it_builds_the_mmcv_of_the_family_that_is_installed(build_mmcv, monkeypatch, installed, package):
    monkeypatch.setattr(build_mmcv, 'installed_version', installed.get)
    asked = []
    monkeypatch.setattr(build_mmcv, 'ensure', lambda *args: asked.append(args))
    monkeypatch.setattr(sys, 'argv', ['build_mmcv.py'])
    build_mmcv.main()
    monkeypatch.setattr(sys, 'argv', ['build_mmcv.py', '--package', 'mmcv', '--version', '2.0.1', '--force'])
    build_mmcv.main()
    pins = (DEV.parents[1] / 'requirements/constraints.txt').read_text()
    version = re.search(rf'^{package}==(.+)$', pins, re.MULTILINE).group(1)
    assert asked == [(package, version, False, False), ('mmcv', '2.0.1', True, False)]


def test_it_does_not_overwrite_the_mmcv_of_the_other_family(build_mmcv, monkeypatch):
    monkeypatch.setattr(build_mmcv, 'installed_version', {'mmcv': '2.1.0'}.get)
    with pytest.raises(build_mmcv.BuildError) as caught:
        build_mmcv.ensure('onedl-mmcv', '2.3.6', force=True)
    assert str(caught.value) == (
        'onedl-mmcv was asked for, but mmcv 2.1.0 is installed, and both import as mmcv.\n'
        f'  To change: {sys.executable} -m pip uninstall mmcv, with the rest of its family.\n'
        '  To build mmcv instead: --package mmcv'
    )


@pytest.fixture
def compiling_alone(build_mmcv, monkeypatch, tmp_path):
    """A build without tools, network and installation; the wheel goes into ``tmp_path``."""
    monkeypatch.setattr(build_mmcv, 'check_tools', lambda: None)
    monkeypatch.setattr(build_mmcv, 'fetch', lambda package, version, folder: folder)
    monkeypatch.setattr(build_mmcv, 'install', lambda wheel: None)
    monkeypatch.setattr(build_mmcv, 'wheel_folder', lambda package, version: tmp_path)


@pytest.mark.usefixtures('compiling_alone')
def test_a_fast_build_that_fails_is_followed_by_a_plain_one(build_mmcv, monkeypatch, tmp_path, capsys):
    tried = []

    def compile_wheel(source, out, log, fast):
        tried.append(fast)
        if fast:
            raise build_mmcv.BuildError('the build ended with an error')
        (out / 'mmcv.whl').write_text('built')
        return out / 'mmcv.whl'

    monkeypatch.setattr(build_mmcv, 'CHECK', '')
    monkeypatch.setattr(build_mmcv, 'compile_wheel', compile_wheel)
    assert build_mmcv.build('onedl-mmcv', '2.3.6', plain=False).read_text() == 'built'
    assert tried == [True, False]
    assert 'the fast build failed: the build ended with an error' in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob('*.whl*')] == ['mmcv.whl']


@pytest.mark.usefixtures('compiling_alone')
def test_ops_that_do_not_run_are_not_kept(build_mmcv, monkeypatch, tmp_path):
    def compile_wheel(source, out, log, fast):
        (out / 'mmcv.whl').touch()
        return out / 'mmcv.whl'

    monkeypatch.setattr(build_mmcv, 'CHECK', 'raise ImportError("undefined symbol")')
    monkeypatch.setattr(build_mmcv, 'compile_wheel', compile_wheel)
    message = 'the built ops do not run:(.|\n)*undefined symbol'
    with pytest.raises(build_mmcv.BuildError, match=message):
        build_mmcv.build('onedl-mmcv', '2.3.6', plain=False)
    assert not list(tmp_path.glob('*.whl'))


def test_without_a_compiler_it_says_so_at_once(build_mmcv, monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(build_mmcv.BuildError) as caught:
        build_mmcv.check_tools()
    assert "a C++ compiler (looked for 'no-such-compiler')" in str(caught.value)
    assert 'apt-get install g++ python3-dev' in str(caught.value)


def test_progress_in_a_log_is_a_line_every_five_percent(build_mmcv, capsys):
    progress = build_mmcv.Progress()
    for done in range(1, 79):
        progress(f'[{done}/78] c++ -c some.cpp\n')
    lines = [line for line in capsys.readouterr().out.splitlines() if 'compiling' in line]
    assert 20 <= len(lines) <= 22
    assert lines[-1].startswith('[mmcv] compiling  78/78')
