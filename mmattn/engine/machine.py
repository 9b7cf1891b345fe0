"""What computed a result: the processor, the GPU, and the versions that decide its numbers."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from mmattn.version import __version__

PACKAGES = ('torch', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'mmengine', 'mmcv', 'mmdet')


def describe_machine() -> dict[str, Any]:
    """Return the processor, the number of cores and threads, the GPU and the versions."""
    versions = {'python': platform.python_version(), 'mmattn': __version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # the other of the two families
            pass
    return dict(
        processor=_processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        versions=versions,
    )


def _processor() -> str:
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            return next(line.split(':')[1].strip() for line in file if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
