"""Probe of tools/doctor.py: do mmcv's compiled ops run, forward and backward?"""

import torch
from mmcv.ops import nms, roi_align


def probe() -> dict:
    """Run an op without and an op with gradients; return the device."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]], device=device)
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), 0.5)[1].tolist()
    assert kept == [0, 2], f'nms kept {kept}, expected [0, 2]'
    x = torch.ones(1, 1, 32, 32, device=device, requires_grad=True)
    rois = torch.tensor([[0.0, 0, 0, 9, 9]], device=device)
    roi_align(x, rois, (2, 2)).sum().backward()
    assert x.grad.abs().sum() > 0, 'roi_align gives no gradient'
    return dict(device=device)
