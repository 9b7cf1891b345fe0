"""The backend in C, built when it is first needed: float32 and bfloat16 in NCHW on a CPU.

The library is kept in ``kernels`` of ``$MMATTN_CACHE``, by default ``~/.cache/mmattn``, under a name made of
its source, the compiler's version, the flags and the processor. Only a folder and a file that nobody else may
write to are used.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mmattn.ops.backends.base import Gates, MapGrads, Pooled, Stats
from mmattn.ops.once import warn_once

_SOURCE = Path(__file__).with_name('kernels.c')
DTYPES = {torch.float32: 'float32', torch.bfloat16: 'bfloat16'}
# The functions of the library, one for each dtype, and their arguments: p a tensor or none, n a size, d a
# number. Behind these each takes the number of threads. It returns nonzero if there was no memory for its
# partial sums.
_ARGUMENTS = {
    'pool': 'ppnnnpppp',
    'stats': 'pppnnnpp',
    'apply_gates': 'pppnnnp',
    'gates_backward': 'ppppnnnpp',
    'stats_backward': 'ppppppnnnp',
    'map_backward': 'ppppppppppppnnnpp',
    'norm_affine': 'ppppdnp',
    'tail': 'pppppnnnp',
    'tail_backward': 'ppppppnnnpppp',
}
_TYPES = {'p': ctypes.c_void_p, 'n': ctypes.c_int64, 'd': ctypes.c_double}
# Neither flag changes a result: C programs may ask for errno and floating point traps, this one does not.
_FLAGS = ['-O3', '-march=native', '-fPIC', '-fno-math-errno', '-fno-trapping-math']


@functools.lru_cache(None)
def _library() -> tuple[dict[tuple[str, torch.dtype], Callable], str]:
    """The functions of the library by name and dtype, or why there are none."""
    compiler = os.environ.get('CC') or shutil.which('cc') or shutil.which('gcc') or ''
    try:
        command = shlex.split(compiler)
        if not command or not shutil.which(command[0]):
            return {}, 'no C compiler was found ($CC, cc, gcc)'
        return _functions(_load(command)), ''
    except (
        OSError,
        ValueError,
        RuntimeError,
        subprocess.SubprocessError,
    ) as error:  # no home, no such flag, ...
        text = getattr(error, 'stderr', None) or str(error)
        return (
            {},
            f'{compiler} could not compile {_SOURCE.name}, or it cannot be loaded: {text.strip()[:500]}',
        )


def _functions(library: ctypes.CDLL) -> dict[tuple[str, torch.dtype], Callable]:
    """The functions, which know the types of their arguments: a call then takes half as long."""
    functions = {}
    for name, arguments in _ARGUMENTS.items():
        for dtype, suffix in DTYPES.items():
            function = functions[name, dtype] = getattr(library, f'mmattn_{name}_{suffix}')
            function.argtypes = [*(_TYPES[each] for each in arguments), ctypes.c_int]
    return functions


def _run(command: list[str]) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, errors='replace', timeout=120
    ).stdout


def _load(compiler: list[str]) -> ctypes.CDLL:
    """Load the library from the cache, and compile it first if it is not there."""
    sources = [path.read_text(encoding='utf-8') for path in sorted(_SOURCE.parent.glob('*.[ch]'))]
    key = '\n'.join(
        [*sources, _run([*compiler, '--version']), *compiler, *_FLAGS, platform.machine(), _processor()]
    )
    cache = Path(os.environ.get('MMATTN_CACHE') or Path.home() / '.cache' / 'mmattn') / 'kernels'
    path = cache / f'cpu_kernels-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so'
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.mkdir(mode=0o700, exist_ok=True)
    unsafe = next((each for each in (cache, path) if each.exists() and not _is_mine_alone(each)), None)
    if unsafe is None:
        if not path.is_file():
            with tempfile.TemporaryDirectory(dir=cache) as folder:  # another process may compile it too
                os.replace(_compiled(compiler, Path(folder)), path)
        return ctypes.CDLL(str(path))
    warn_once(
        f"'{unsafe}' belongs to somebody else, or others may write to it, so the library is not loaded from "
        'there, but compiled in a private folder at every start. Remove what is there, or let MMATTN_CACHE '
        'name a folder of your own'
    )
    with tempfile.TemporaryDirectory() as folder:  # which is the user's alone; a loaded library needs no file
        return ctypes.CDLL(str(_compiled(compiler, Path(folder))))


def _is_mine_alone(path: Path) -> bool:
    """Whether a file or folder belongs to this user, and nobody else may write to it."""
    if not hasattr(os, 'geteuid'):
        return True
    found = path.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _compiled(compiler: list[str], folder: Path) -> Path:
    """Compile the library in ``folder``."""
    # Compiled for OpenMP but not linked with it: the library then runs on the threads of PyTorch,
    # which has loaded its own OpenMP for all to see, instead of bringing a second set.
    library = folder / 'kernels.so'
    _run([*compiler, *_FLAGS, '-fopenmp', '-c', str(_SOURCE), '-o', str(folder / 'kernels.o')])
    _run([*compiler, '-shared', str(folder / 'kernels.o'), '-o', str(library)])
    library.chmod(0o700)  # whatever the umask
    return library


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        told = ('model name', 'flags', 'Features', 'CPU ', 'cpu\t')  # of x86, Arm, Power
        return '\n'.join(sorted({line for line in lines if line.startswith(told)}))
    except OSError:
        return platform.processor()


def missing_reason() -> str:
    """Why this machine cannot run them; empty if it can. Compiles the library when first asked."""
    return _library()[1]


def _call(name: str, x: Tensor, *args) -> None:
    """Call the function for maps like ``x``, on as many threads as PyTorch has."""
    sent = [a.data_ptr() if isinstance(a, Tensor) else a for a in args]
    if _library()[0][name, x.dtype](*sent, torch.get_num_threads()):
        raise MemoryError(f'{name}: no memory for the partial sums')


def _flat(*tensors: Tensor | None) -> list[Tensor | None]:
    """As the library reads them. Gates and gradients are small, and usually so already."""
    return [None if t is None else t.detach().to(torch.float32).contiguous() for t in tensors]


def _new(x: Tensor, *shape) -> Tensor:
    return x.new_empty(*shape, dtype=torch.float32)


def _sizes(x: Tensor) -> tuple[int, int, int]:
    n, c, h, w = x.shape
    return n, c, h * w


def pool(x: Tensor, with_amax: bool) -> Pooled:
    return pool_norm(x, None, with_amax)[0]


def pool_norm(z: Tensor, affine: Tensor | None, with_amax: bool) -> tuple[Pooled, Tensor | None]:
    n, c, p = _sizes(z)
    avg = _new(z, (n, c, 1, 1))
    z_avg = None if affine is None else torch.empty_like(avg)
    amax, ties = (torch.empty_like(avg) if with_amax else _new(z, 0) for _ in range(2))
    wanted = (amax, ties) if with_amax else (None, None)
    _call('pool', z, z, affine, n, c, p, avg, z_avg, *wanted)
    return Pooled(avg, amax, ties), z_avg


def stats(x: Tensor, channel: Tensor | None) -> Stats:
    return stats_norm(x, None, channel)


def stats_norm(z: Tensor, affine: Tensor | None, channel: Tensor | None) -> Stats:
    n, c, h, w = z.shape
    out, ties = _new(z, (n, 2, h, w)), _new(z, (n, 1, h, w))
    _call('stats', z, z, affine, *_flat(channel), n, c, h * w, out, ties)
    return Stats(out, ties)


def apply_gates(x: Tensor, gates: Gates) -> Tensor:
    y = torch.empty_like(x)
    _call('apply_gates', x, x, *_flat(*gates), *_sizes(x), y)
    return y


def gates_backward(x: Tensor, dy: Tensor, gates: Gates) -> Gates:
    n, c, h, w = x.shape
    channel, spatial = _flat(*gates)
    dchannel = _new(x, (n, c, 1, 1) if channel is not None else 0)
    dspatial = _new(x, (n, 1, h, w) if spatial is not None else 0)
    wanted = None if channel is None else dchannel, None if spatial is None else dspatial
    _call('gates_backward', x, dy, x, channel, spatial, n, c, h * w, *wanted)
    return Gates(dchannel, dspatial)


def stats_backward(x: Tensor, channel: Tensor, dstats: Tensor, stats: Stats) -> Tensor:
    return stats_backward_norm(x, None, channel, dstats, stats)


def stats_backward_norm(
    z: Tensor, affine: Tensor | None, channel: Tensor, dstats: Tensor, stats: Stats
) -> Tensor:
    dchannel = _new(z, (*z.shape[:2], 1, 1))
    small = _flat(channel, dstats, stats.amax_mean, stats.ties)
    _call('stats_backward', z, z, affine, *small, *_sizes(z), dchannel)
    return dchannel


def map_backward(x: Tensor, grads: MapGrads) -> Tensor:
    return map_backward_norm(x, None, grads, False)[0]


def map_backward_norm(
    z: Tensor, affine: Tensor | None, grads: MapGrads, wants_sums: bool
) -> tuple[Tensor, Tensor | None]:
    dz = torch.empty_like(z)
    sums = _new(z, (2, z.shape[1])) if wants_sums else None
    dy, *small = grads  # in the order of the C function's arguments
    _call('map_backward', z, dy, z, affine, *_flat(*small), *_sizes(z), dz, sums)
    return dz, sums
