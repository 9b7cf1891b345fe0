"""Stand in for ninja: compile the common header once, then run the real ninja.

``build_mmcv.py`` puts this first on PATH while mmcv's ops are compiled. PyTorch's
``BuildExtension`` writes a ``build.ninja`` and calls ``ninja``; every one of mmcv's sources
includes the same large header, which costs more than the sources themselves. Reading the flags
from ``build.ninja`` is what makes the precompiled header usable: GCC silently ignores one that
was made with other flags.

If anything goes wrong here, the real ninja runs on the untouched file: slower, never broken.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

HEADER = 'MMATTN_PCH_HEADER'  # the header all sources include
NINJA = 'MMATTN_REAL_NINJA'


def variable(text, name):
    """Return the unescaped value of a top-level ninja variable; '' if it is not set."""
    found = re.search(rf'^{name} =[ ]?(.*)$', text, flags=re.MULTILINE)
    return found.group(1).replace('$ ', ' ').replace('$:', ':').replace('$$', '$') if found else ''


def compile_header(text, folder):
    """Compile the header with the flags of the sources; return the header to include."""
    header = folder / 'pch.hpp'
    header.write_text(f'#include "{os.environ[HEADER]}"\n')
    command = [
        *shlex.split(variable(text, 'cxx')),
        '-x',
        'c++-header',
        *shlex.split(variable(text, 'cflags')),
        *shlex.split(variable(text, 'post_cflags')),
        str(header),
        '-o',
        f'{header}.gch',
    ]
    subprocess.run(command, cwd=folder, check=True)
    return header


def main():
    build_file = Path('build.ninja')
    if HEADER in os.environ and '--version' not in sys.argv and build_file.is_file():
        text = build_file.read_text()
        began = time.monotonic()
        try:
            header = compile_header(text, build_file.resolve().parent)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f'precompiled header: failed ({error}); compiling without it', flush=True)
        else:
            print(f'precompiled header: {time.monotonic() - began:.0f} s', flush=True)
            # Only `cflags`: nvcc has its own variable, and cannot use GCC's header.
            include = shlex.quote(str(header)).replace('$', '$$')
            build_file.write_text(
                re.sub(
                    r'^cflags = ',
                    lambda _: f'cflags = -include {include} -Winvalid-pch ',
                    text,
                    flags=re.MULTILINE,
                )
            )
    os.execv(os.environ[NINJA], ['ninja', *sys.argv[1:]])


if __name__ == '__main__':
    main()
