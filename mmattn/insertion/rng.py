"""Random numbers for attention that leave the global random state alone."""

from __future__ import annotations

import zlib
from contextlib import contextmanager

import torch


@contextmanager
def isolated_rng(name: str, number: int = 0, device: torch.device | str = 'cpu'):
    """Random numbers that depend on the global seed, ``name`` and ``number``; the global state stays.

    Host initialisation, data order and dropout are then the same with attention and without it.
    """
    device = torch.device(device)
    seed = (torch.initial_seed() + zlib.crc32(name.encode()) + number) % 2**63
    cuda = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            index = torch.cuda.current_device() if each.index is None else each.index
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
