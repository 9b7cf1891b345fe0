"""Convolutions of a vector for each image, computed as the matrix products that they are.

On a CPU a convolution costs more than the product itself: with two threads a 1x1 convolution of one position
took five times as long. Where somebody watches the layer, or it is not PyTorch's own, it is called.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmattn._private_apis import has_hooks
from mmattn.ops.tensors import in_graph, is_watched


def _are_only(cls: type[nn.Module], x: Tensor, *layers: nn.Module) -> bool:
    """True if calling the layers on ``x`` does no more than their formula."""
    return (
        x.device.type == 'cpu'
        and not in_graph(x)
        and not is_watched()
        and all(type(each) is cls and not has_hooks(each) and 'forward' not in vars(each) for each in layers)
    )


def _linear(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return F.linear(x, conv.weight.flatten(1), conv.bias)


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """``conv(x)`` of a 1x1 convolution, for ``(N, C, 1, 1)``."""
    if not _are_only(nn.Conv2d, x, conv):
        return conv(x)
    return _linear(conv, x.flatten(1))[..., None, None]


def perceptron(first: nn.Conv2d, relu: nn.ReLU, last: nn.Conv2d, x: Tensor) -> Tensor:
    """``last(relu(first(x)))`` of 1x1 convolutions, for ``(N, C, 1, 1)``."""
    if type(relu) is not nn.ReLU or has_hooks(relu) or not _are_only(nn.Conv2d, x, first, last):
        return last(relu(first(x)))
    return _linear(last, F.relu(_linear(first, x.flatten(1))))[..., None, None]


def along_channels(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution along the channels of ``(N, C, 1, 1)``, which it takes as ``(N, 1, C)``."""
    if not _are_only(nn.Conv1d, x, conv):
        return conv(x.flatten(2).transpose(1, 2)).transpose(1, 2).unsqueeze(-1)
    (size,), (padding,) = conv.kernel_size, conv.padding
    windows = F.pad(x.flatten(1), (padding, padding)).unfold(1, size, 1)
    return (windows @ conv.weight.view(size))[..., None, None]
