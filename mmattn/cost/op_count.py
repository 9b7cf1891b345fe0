"""Count arithmetic operations while a model runs, by module and by category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.flop_counter import flop_registry

from mmattn._private_apis import TorchDispatchMode

aten = torch.ops.aten

OP_CATEGORIES = (
    'convolution',
    'linear',
    'bias',
    'norm',
    'activation',
    'pooling',
    'softmax',
    'resizing',
    'elementwise',
)
"""Categories of operations, and how each is counted:

- ``convolution``, ``linear``: multiply-adds of convolutions and of matrix products.
- ``bias``: one per output element that a bias is added to.
- ``norm``: two per element read.
- ``pooling``: one per element read, by a pooling or another reduction.
- ``softmax``: three per element.
- ``activation``, ``resizing``, ``elementwise``: one per element written.
"""


def _packets(*names: str) -> set:
    """Return these operators of ATen; one that this PyTorch lacks is never called."""
    return {getattr(aten, name) for name in names if hasattr(aten, name)}


_CONVOLUTIONS = _packets(
    'convolution',
    '_convolution',
    'cudnn_convolution',
    'mkldnn_convolution',
)
_BIAS_AT = {**dict.fromkeys(_CONVOLUTIONS, 2), aten.addmm: 0, aten.baddbmm: 0}
_NORMS = _packets(
    'native_batch_norm',
    '_native_batch_norm_legit',
    '_native_batch_norm_legit_no_training',
    '_batch_norm_with_update',
    '_batch_norm_no_update',
    'cudnn_batch_norm',
    'batch_norm_elemt',
    'native_group_norm',
    'native_layer_norm',
)
_POOLINGS = _packets(
    'mean',
    'sum',
    'amax',
    'amin',
    'max',
    'min',
    'var',
    'var_mean',
    'std',
    'prod',
    'linalg_vector_norm',
    'norm',
    'argmax',
    'argmin',
    'aminmax',
    'max_pool2d_with_indices',
    'avg_pool2d',
    '_adaptive_avg_pool2d',
    'adaptive_max_pool2d',
)
_ACTIVATIONS = _packets(
    'relu',
    'relu_',
    'leaky_relu',
    'leaky_relu_',
    'prelu',
    '_prelu_kernel',
    'sigmoid',
    'sigmoid_',
    'hardsigmoid',
    'hardsigmoid_',
    'hardswish',
    'hardswish_',
    'hardtanh',
    'hardtanh_',
    'silu',
    'silu_',
    'gelu',
    'tanh',
    'tanh_',
    'elu',
    'mish',
    'softplus',
    'log_sigmoid_forward',
)
_SOFTMAXES = _packets(
    '_softmax',
    '_log_softmax',
)
_RESIZINGS = _packets(
    'upsample_nearest2d',
    '_upsample_nearest_exact2d',
    'upsample_bilinear2d',
    '_upsample_bilinear2d_aa',
    'upsample_bicubic2d',
    'grid_sampler_2d',
)
# no arithmetic: they create, view or move numbers
_FREE = _packets(
    'arange',
    'bernoulli_',
    'cat',
    'clone',
    'constant_pad_nd',
    'copy_',
    'detach_',
    'empty',
    'empty_like',
    'empty_strided',
    'eye',
    'fill_',
    'flip',
    'full',
    'full_like',
    'gather',
    'index',
    'index_put_',
    'index_select',
    'lift_fresh',
    'linspace',
    'new_empty',
    'new_full',
    'new_ones',
    'new_zeros',
    'ones',
    'ones_like',
    'pixel_shuffle',
    'reflection_pad2d',
    'repeat',
    'replication_pad2d',
    'roll',
    'scalar_tensor',
    'scatter_',
    'slice_scatter',
    'stack',
    'tril',
    'triu',
    'zero_',
    'zeros',
    'zeros_like',
    '_to_copy',
    '_unsafe_view',
)


@dataclass
class OpCount:
    """Operations that were counted.

    Attributes:
        by_module: Operations of each of the :data:`OP_CATEGORIES`, by the path of the module that ran them
            itself (not in one of its submodules).
        not_counted: Number of calls of each operation without a cost formula.
    """

    by_module: dict[str, Counter] = field(default_factory=dict)
    not_counted: Counter = field(default_factory=Counter)

    def total(self, categories: Iterable[str] = OP_CATEGORIES, below: str = '') -> int:
        """Return the operations of ``categories`` in the module at path ``below``, submodules included."""
        categories = tuple(categories)
        return sum(
            counter[category]
            for path, counter in self.by_module.items()
            for category in categories
            if not below or f'{path}.'.startswith(f'{below}.')
        )

    def by_category(self, below: str = '') -> dict[str, int]:
        """Return the operations of each category in the module at path ``below``, submodules included."""
        return {category: self.total([category], below) for category in OP_CATEGORIES}


class CountOps(TorchDispatchMode):
    """A context that counts the operations of ``model`` into its attribute ``count``.

    It works on real and on fake tensors. The spelling does not matter: a mean is a pooling, whether it is
    taken by a module, a function or a method.

    Args:
        model: Model whose modules the operations are assigned to.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mmattn.cost import CountOps
        >>> model = nn.Conv2d(3, 8, 1, bias=False)
        >>> with CountOps(model) as counting:
        ...     y = model(torch.rand(1, 3, 10, 10))
        >>> counting.count.total()
        2400
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.count = OpCount()
        self._paths: Mapping[nn.Module, str] = {module: path for path, module in model.named_modules()}
        self._inside = ['']
        self._hooks: list = []

    def __enter__(self):
        # Global hooks run before a module's own ones. What such a hook computes, for example an attention
        # block, is counted for the module that it calls.
        self._hooks = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        return super().__enter__()

    def __exit__(self, *error):
        for hook in self._hooks:
            hook.remove()
        return super().__exit__(*error)

    @property
    def where(self) -> str:
        """Path of the module that is running."""
        return self._inside[-1]

    def _enter_module(self, module, args) -> None:
        if module in self._paths:
            self._inside.append(self._paths[module])

    def _leave_module(self, module, args, output) -> None:
        if module in self._paths:
            self._inside.pop()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        counter = self.count.by_module.setdefault(self.where, Counter())
        packet = func.overloadpacket
        written = _largest(out)
        if packet in flop_registry:
            category = 'convolution' if packet in _CONVOLUTIONS else 'linear'
            counter[category] += flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2
            position = _BIAS_AT.get(packet)
            if position is not None and len(args) > position and isinstance(args[position], Tensor):
                counter['bias'] += written
        elif packet in _NORMS:
            counter['norm'] += 2 * args[0].numel()
        elif packet in _POOLINGS and (packet not in (aten.max, aten.min) or written < args[0].numel()):
            counter['pooling'] += args[0].numel()
        elif packet in _SOFTMAXES:
            counter['softmax'] += 3 * written
        elif packet in _ACTIVATIONS:
            counter['activation'] += written
        elif packet in _RESIZINGS:
            counter['resizing'] += written
        elif func.is_view or packet in _FREE or func.namespace == 'prim':
            pass
        elif torch.Tag.pointwise in func.tags:
            counter['elementwise'] += written
        else:
            self.count.not_counted[str(packet)] += 1
        return out


def _largest(output) -> int:
    """Return the number of elements of the largest tensor in an operator's output."""
    if isinstance(output, Tensor):
        return output.numel()
    return max(map(_largest, output), default=0) if isinstance(output, (list, tuple)) else 0
