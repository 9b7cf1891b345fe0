"""Install mmcv with its compiled ops into the environment of the Python that runs this.

Neither family's mmcv has wheels for most versions of PyTorch, and a plain build of its source
distribution parses PyTorch's headers once for each of 78 files. This script builds the same sources
with the common header precompiled, without debug info and on all processors, and keeps the wheel, so
that the next environment takes seconds.

    python tools/dev/build_mmcv.py             # install, building only if no kept wheel fits
    python tools/dev/build_mmcv.py --force     # build again
    python tools/dev/build_mmcv.py --plain     # build without the precompiled header
    python tools/dev/build_mmcv.py --package mmcv --version 2.1.0

Without --package, upstream's mmcv is built where upstream's MMEngine is installed, and onedl-mmcv
elsewhere; without --version, the version of it that was tested (requirements/constraints.txt).

PyTorch, setuptools, wheel and ninja must be installed first; `make setup` does that.

Environment: MMATTN_WHEEL_CACHE (folder of kept wheels; default ~/.cache/mmattn/wheels),
MAX_JOBS (compilers at once; default one per processor, fewer if memory is short), CXX, FORCE_CUDA
(as in PyTorch's and mmcv's own builds).
"""

import argparse
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from collections import deque
from importlib import metadata
from pathlib import Path

# Each family's mmcv, and the distributions of the same family's MMEngine.
PACKAGES = {'onedl-mmcv': ('onedl-mmengine',), 'mmcv': ('mmengine', 'mmengine-lite')}
REQUIREMENTS = Path(__file__).resolve().parents[2] / 'requirements'
COMMON_HEADER = 'mmcv/ops/csrc/common/pytorch_cpp_helper.hpp'
FLAGS = '-O2 -DNDEBUG -g0'  # replaces Python's own, which often ask for debug info
JOB_BYTES = 1.5 * 2**30  # memory for one compiler; GCC 12 took up to 1 GB, the rest is margin
# Runs compiled code, not just the import: a wheel for another PyTorch can import and then crash.
CHECK = (
    'import torch, mmcv._ext\n'
    'from mmcv.ops import nms\n'
    'boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.], [20., 20., 29., 29.]])\n'
    'kept = nms(boxes, torch.tensor([.9, .8, .7]), .5)[1].tolist()\n'
    'assert kept == [0, 2], kept\n'
)


class BuildError(RuntimeError):
    pass


def say(text):
    print(f'[mmcv] {text}', flush=True)


def pinned_version(package):
    """Return the tested version of a family's mmcv, from the list of pins."""
    pins = (REQUIREMENTS / 'constraints.txt').read_text()
    return re.search(rf'^{package}==([^\s;]+)', pins, flags=re.MULTILINE).group(1)


def family_here():
    """Return the mmcv of the family whose MMEngine is installed here; the forks' if there is none."""
    return next(
        (package for package, engines in PACKAGES.items() if any(map(installed_version, engines))),
        next(iter(PACKAGES)),
    )


def check_family(package):
    """Raise ``BuildError`` if the other family's mmcv is installed: the two overwrite each other's files."""
    for other in PACKAGES:
        found = installed_version(other) if other != package else None
        if found:
            raise BuildError(
                f'{package} was asked for, but {other} {found} is installed, and both import as mmcv.\n'
                f'  To change: {sys.executable} -m pip uninstall {other}, with the rest of its family.\n'
                f'  To build {other} instead: --package {other}'
            )


def run_here(code):
    """Run code in a fresh interpreter of this environment, away from any checkout of mmcv."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([sys.executable, '-c', code], cwd=folder, capture_output=True, text=True)


def ops_work():
    return run_here(CHECK).returncode == 0


def installed_version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def wheel_folder(package, version):
    """Return the folder of the kept wheel, named by all that decides whether its compiled code fits."""
    root = os.environ.get('MMATTN_WHEEL_CACHE')
    if not root:
        root = os.path.join(
            os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'mmattn', 'wheels'
        )
    import torch

    cuda = torch.cuda.is_available() or os.environ.get('FORCE_CUDA') == '1'
    variant = f'cuda{torch.version.cuda}' if cuda else 'cpu'
    key = '-'.join(
        [
            f'{package}{version}',
            f'torch{torch.__version__}',
            f'ops_{variant}',
            sys.implementation.cache_tag,
            sysconfig.get_platform(),
            ''.join(platform.libc_ver()),
        ]
    )
    return Path(root).expanduser().resolve() / re.sub(r'[^\w.+-]', '_', key)


def pip(*args):
    subprocess.run([sys.executable, '-m', 'pip', '--disable-pip-version-check', *args], check=True)


def install(wheel):
    # The exact file and nothing else: pip's own cache may hold a wheel of the same name and
    # version that was built without ops or for another PyTorch.
    pip('install', '--quiet', '--no-deps', '--no-index', '--force-reinstall', str(wheel))


def check_tools():
    """Raise ``BuildError`` at once if a compiler or a header is missing, and say what to install."""
    missing = []
    cxx = (os.environ.get('CXX') or 'c++').split()[0]
    if not shutil.which(cxx):
        missing.append(f'a C++ compiler (looked for {cxx!r})')
    header = Path(sysconfig.get_paths()['include']) / 'Python.h'
    if not header.is_file():
        missing.append(f"Python's headers (looked for {header})")
    if missing:
        raise BuildError(
            f"mmcv's ops cannot be compiled: {' and '.join(missing)} not found.\n"
            '  Debian, Ubuntu: apt-get install g++ python3-dev   Fedora: dnf install gcc-c++ '
            'python3-devel\n  conda: conda install cxx-compiler'
        )


def fetch(package, version, folder):
    """Download and unpack the source distribution; return its folder."""
    say(f'downloading the sources of {package} {version}')
    pip(
        'download',
        '--quiet',
        '--no-deps',
        '--no-build-isolation',
        '--no-binary',
        package,
        '--dest',
        str(folder),
        f'{package}=={version}',
    )
    archive = next(folder.glob('*.tar.gz'))
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, 'data_filter'):
            tar.extractall(folder, filter='data')
        else:
            tar.extractall(folder)
    return next(path.parent for path in folder.glob('*/setup.py'))


def jobs():
    if os.environ.get('MAX_JOBS'):
        return os.environ['MAX_JOBS']
    count = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    try:
        with open('/proc/meminfo') as file:
            free = int(re.search(r'MemAvailable:\s+(\d+)', file.read()).group(1)) * 1024
    except (OSError, ValueError, AttributeError):
        return str(count)
    return str(max(1, min(count, int(free // JOB_BYTES))))


class Progress:
    """Turn ninja's '[12/78] ...' lines into a bar on a terminal, or into a line every 5 % elsewhere."""

    def __init__(self):
        self.began = time.monotonic()
        self.shown = -1
        self.tty = sys.stdout.isatty()

    def __call__(self, line):
        found = re.match(r'\[(\d+)/(\d+)\] ', line)
        if not found:
            if line.startswith('precompiled header:'):
                say(line.strip())
                self.began = time.monotonic()  # the estimate is about the sources alone
            return
        done, total = map(int, found.groups())
        step = done * 20 // total
        if not self.tty and step == self.shown:
            return
        self.shown = step
        spent = time.monotonic() - self.began
        left = spent / done * (total - done)
        text = f'compiling {done:3d}/{total}  {spent:4.0f} s, about {left:.0f} s left'
        if self.tty:
            print(f'\r[mmcv] {text}   ', end='\n' if done == total else '', flush=True)
        else:
            say(text)
        if done == total:
            say('linking, packing')


def compile_wheel(source, out, log, fast):
    """Build the wheel from the unpacked sources; return its path."""
    env = dict(os.environ, MAX_JOBS=jobs(), CFLAGS=FLAGS, PYTHONUNBUFFERED='1')
    ninja = shutil.which(
        'ninja', path=os.pathsep.join([sysconfig.get_path('scripts'), os.environ.get('PATH', '')])
    )
    if not ninja:
        raise BuildError(
            'ninja not found: without it the sources would be compiled one by one.\n'
            f'  {sys.executable} -m pip install -r {REQUIREMENTS / "build.txt"}'
        )
    shim = source.parent / 'shim'
    shutil.rmtree(shim, ignore_errors=True)
    shutil.rmtree(source / 'build', ignore_errors=True)
    shim.mkdir()
    if fast:
        script = shim / 'ninja'
        script.write_text('#!/bin/sh\nexec "$MMATTN_PYTHON" "$MMATTN_SHIM" "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        env.update(
            MMATTN_PYTHON=sys.executable,
            MMATTN_REAL_NINJA=ninja,
            MMATTN_SHIM=str(Path(__file__).with_name('ninja_pch.py')),
            MMATTN_PCH_HEADER=str(source / COMMON_HEADER),
        )
    env['PATH'] = os.pathsep.join([str(shim), os.path.dirname(ninja), env.get('PATH', '')])
    say(f'compiling with {env["MAX_JOBS"]} processes; the full output is in {log}')
    if fast:
        say('precompiling the header all sources share (half a minute)')
    code = 'import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])'
    tail, progress = deque(maxlen=25), Progress()
    with (
        open(log, 'w') as file,
        subprocess.Popen(
            [sys.executable, '-c', code, str(out)],
            cwd=source,
            env=env,
            text=True,
            errors='replace',
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            for line in process.stdout:
                file.write(line)
                tail.append(line[:300].rstrip())
                progress(line)
        except BaseException:
            process.terminate()
            raise
    wheels = list(out.glob('*.whl'))
    if process.returncode or len(wheels) != 1:
        raise BuildError('the build ended with an error; its last lines:\n  ' + '\n  '.join(tail))
    return wheels[0]


def build(package, version, plain):
    """Build, install and check mmcv; return the wheel's path in the cache."""
    check_tools()
    kept = wheel_folder(package, version)
    kept.mkdir(parents=True, exist_ok=True)
    log = kept / 'build.log'
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='mmattn-mmcv-') as folder:
        folder = Path(folder)
        source = fetch(package, version, folder)
        for fast in [False] if plain or os.name != 'posix' else [True, False]:
            out = folder / ('fast' if fast else 'plain')
            out.mkdir()
            try:
                wheel = compile_wheel(source, out, log, fast)
                install(wheel)
                result = run_here(CHECK)
                if result.returncode:
                    raise BuildError(f'the built ops do not run:\n{result.stderr[-2000:]}')
                break
            except BuildError as error:
                if not fast:
                    raise
                say(f'the fast build failed: {error}')
                say('building again without the precompiled header: several times as long')
        # Renamed into place last: a wheel in the cache is one that was checked, and whole.
        partial = kept / f'{wheel.name}.part'
        shutil.copyfile(wheel, partial)
        final = partial.replace(kept / wheel.name)
    say(f'built and checked in {time.monotonic() - began:.0f} s; kept as {final}')
    return final


def ensure(package, version, force=False, plain=False):
    """Install `version` of this mmcv unless it is installed with ops that run."""
    check_family(package)
    if not force and installed_version(package) == version and ops_work():
        say(f'{package} {version} with compiled ops is installed')
        return
    if not force:
        for wheel in wheel_folder(package, version).glob('*.whl'):
            say(f'installing the kept wheel {wheel}')
            install(wheel)
            if ops_work():
                return
            say('its ops do not run here: building again')
            wheel.unlink()
    build(package, version, plain)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--force', action='store_true', help='build even if it is installed')
    parser.add_argument('--plain', action='store_true', help='no precompiled header')
    parser.add_argument('--package', choices=PACKAGES, help="which family's mmcv (default: see above)")
    parser.add_argument('--version', help='which version of it (default: the tested one)')
    args = parser.parse_args()
    try:
        import torch  # noqa: F401
    except ImportError:
        sys.exit(
            "[mmcv] PyTorch must be installed first: mmcv's ops are compiled against it.\n"
            '  make setup, or see docs/install.md'
        )
    try:
        package = args.package or family_here()
        ensure(package, args.version or pinned_version(package), args.force, args.plain)
    except KeyboardInterrupt:
        sys.exit('\n[mmcv] interrupted: nothing was kept')
    except (BuildError, subprocess.CalledProcessError) as error:
        sys.exit(
            f'[mmcv] FAILED: {error}\n'
            '  - killed or out of memory: run again with MAX_JOBS=1\n'
            '  - errors from the compiler: it needs C++17 (GCC 9 or later); choose one with CXX=\n'
            '  - no network: put the source distribution where pip finds it (PIP_FIND_LINKS)\n'
            '  - or use an environment that has mmcv: make ... USE_ENV=/path/to/environment'
        )


if __name__ == '__main__':
    main()
