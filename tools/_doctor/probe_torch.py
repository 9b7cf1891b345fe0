"""Probe of tools/doctor.py: does PyTorch run, and on what?"""

import torch


def probe() -> dict:
    """Return the devices that PyTorch sees, its threads, and the CUDA that it is built for."""
    return dict(
        devices=[torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        threads=torch.get_num_threads(),
        built_for_cuda=torch.version.cuda,
    )
