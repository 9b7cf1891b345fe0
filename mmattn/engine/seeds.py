"""Random numbers as a function of where they are used, so that no generator's state has to be kept."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def seed_at(*place: int | str) -> int:
    """Return the seed of a place in a run, such as ``(seed, 'step', iteration, rank)``: 63 mixed bits."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little') >> 1


def seed_generators(seed: int, device: str = 'cpu') -> None:
    """Seed the global generators of Python, NumPy and PyTorch, and those of the devices of a kind.

    Args:
        seed: At most 63 bits; NumPy's generator takes the lower 32.
        device: Kind of device that computes, as ``mmengine.device.get_device()`` names it.
    """
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)
    if device == 'cuda':
        torch.cuda.manual_seed_all(seed)
    elif device != 'cpu':
        torch.manual_seed(seed)  # where there is no GPU, it takes 50 times as long as all of the above
