"""Describe the machine and the versions that a benchmark ran with."""

import os
import platform
import shlex
import sys
from importlib.metadata import version

PACKAGES = ('torch', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'mmengine', 'mmcv', 'mmdet')


def describe():
    """Return processor, threads, versions and command, for the head of a results file."""
    import torch

    import mmattn

    versions = {'python': platform.python_version(), 'mmattn': mmattn.__version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except ImportError:  # the other of the two families
            pass
    return dict(
        processor=_processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        versions=versions,
        command=_command(),
    )


def _processor():
    try:
        with open('/proc/cpuinfo') as file:
            return next(line.split(':')[1].strip() for line in file if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _command():
    # Only the last part of a path says something on another machine.
    parts = [os.path.basename(part.rstrip('/')) if os.path.isabs(part) else part for part in sys.argv[1:]]
    return shlex.join(['python', os.path.relpath(sys.argv[0]), *parts])
