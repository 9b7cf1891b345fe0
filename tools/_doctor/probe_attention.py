"""Probe of tools/doctor.py: which backend computes attention here, and why not the fast one?"""

import torch

from mmattn.blocks import CBAM
from mmattn.ops.dispatch import backend_for, missing_reason


def probe() -> dict:
    """Train a block for one step; return the device, the backend, and what the fast backend lacks."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    x = torch.rand(2, 64, 25, 42, device=device, requires_grad=True)
    CBAM(64).to(device)(x).sum().backward()
    fast = 'triton' if device == 'cuda' else 'cpu'
    return dict(by=backend_for(x), device=device, missing=missing_reason(fast))
