"""The forward pass of MMDetection's residual blocks that have attention at the end of their branch.

Their tail, ``relu(block(norm(z)) + identity)``, is computed as one where that is possible, else step by step
as MMDetection does.
"""

from __future__ import annotations

from collections import Counter

import torch
from mmdet.models.backbones import resnet
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmattn import ops
from mmattn._private_apis import has_global_hooks, has_hooks
from mmattn.blocks import AttentionBlock
from mmattn.insertion.mixed_class import is_mixed, mixed_class, reduce_mixed

_SUFFIX = 'WithAttention'
_REFERENCE = '_mmattn_residual'
"""Name of the host's attribute that refers to its block; a child of the host would have other keys."""
_NORM_FORWARDS = (nn.BatchNorm2d.forward, nn.SyncBatchNorm.forward)


class ResidualHost:
    """Mixin of a residual block with attention; :func:`put_block` combines it with the block's class."""

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        z = self._convolve(x)
        identity = x if self.downsample is None else self.downsample(x)
        if (
            torch.compiler.is_compiling()
            or steps_reason(self)
            or ops.tail_reason(z, identity, _keeps_bits(self))
        ):
            return self._steps(z, identity)
        return self._tail(z, identity)

    def _steps(self, z: Tensor, identity: Tensor) -> Tensor:
        out = self._last_norm()(z)
        out = self._after_norm(out)
        out = block_of(self)(out)
        out += identity
        return self.relu(out)

    def _tail(self, z: Tensor, identity: Tensor) -> Tensor:
        norm, convolution = self._last_norm(), self._last_convolution()
        statistics = None
        if not isinstance(norm, nn.Identity):
            statistics = ops.Norm(norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)
        x = block_of(self).apply_gates(ops.lazy_norm(z, statistics))
        # Memory that the convolution has just made, and that nobody else has seen.
        is_own = isinstance(convolution, nn.Conv2d) and not has_hooks(convolution)
        return ops.residual_tail(x, identity, in_place=is_own)

    def __reduce_ex__(self, protocol):
        return reduce_mixed(self, _SUFFIX)


class BottleneckHost(ResidualHost):
    """A bottleneck; its own plugins stay where they are."""

    def _convolve(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm1(self.conv1(x)))
        if self.with_plugins:
            out = self.forward_plugin(out, self.after_conv1_plugin_names)
        out = self.relu(self.norm2(self.conv2(out)))
        if self.with_plugins:
            out = self.forward_plugin(out, self.after_conv2_plugin_names)
        return self.conv3(out)

    def _after_norm(self, x: Tensor) -> Tensor:
        return self.forward_plugin(x, self.after_conv3_plugin_names) if self.with_plugins else x

    def _has_plugins_after_norm(self) -> bool:
        return self.with_plugins and bool(self.after_conv3_plugin_names)

    def _last_convolution(self) -> nn.Module:
        return self.conv3

    def _last_norm(self) -> nn.Module:
        return self.norm3


class BasicBlockHost(ResidualHost):
    """The block of ResNet-18 and -34."""

    def _convolve(self, x: Tensor) -> Tensor:
        return self.conv2(self.relu(self.norm1(self.conv1(x))))

    def _after_norm(self, x: Tensor) -> Tensor:
        return x

    def _has_plugins_after_norm(self) -> bool:
        return False

    def _last_convolution(self) -> nn.Module:
        return self.conv2

    def _last_norm(self) -> nn.Module:
        return self.norm2


def steps_reason(host: ResidualHost) -> str:
    """Why the tail of ``host`` is computed step by step, whatever its maps are; empty if it is not."""
    block, norm = block_of(host), host._last_norm()
    if not isinstance(block, AttentionBlock):
        return 'several blocks, or one of your own'
    if not block.takes_lazy_map():
        return f'{type(block).__name__} needs the normalised map itself'
    if host._has_plugins_after_norm():
        return 'plugins after the last norm'
    if not isinstance(norm, nn.Identity):
        if type(norm).forward not in _NORM_FORWARDS or norm.running_mean is None:
            return f'{type(norm).__name__} is no batch norm with running statistics'
        if norm.training:
            return 'norms in training mode'
        if norm.running_mean.dtype != torch.float32:
            return 'norms that are not in float32'
    if type(host.relu) is not nn.ReLU:
        return f'{type(host.relu).__name__} is no ReLU'
    hooked = has_global_hooks() and not ops.are_tails_counted()
    if hooked or has_hooks(norm) or has_hooks(block) or has_hooks(host.relu):
        return 'hooks'
    return ''


def _keeps_bits(host: ResidualHost) -> bool:
    block = block_of(host)
    return block.start == 'identity' or block.paper_is_identity


_MIXINS = {resnet.Bottleneck.forward: BottleneckHost, resnet.BasicBlock.forward: BasicBlockHost}


def is_host(module: nn.Module) -> bool:
    """True if ``module`` is a residual block with attention, and still of the class that it got with it."""
    return is_mixed(module, ResidualHost)


def can_be_host(module: nn.Module) -> bool:
    """True if ``module`` runs the forward pass of MMDetection's ``Bottleneck`` or ``BasicBlock``."""
    return type(module).forward in _MIXINS


def output_channels(module: nn.Module) -> int:
    """The number of channels of a host's output, with or without its block."""
    return (module.conv3 if hasattr(module, 'conv3') else module.conv2).out_channels


def tail_summary(model: nn.Module) -> str:
    """How many tails of ``model`` are computed as one in its present mode, and why others are not.

    Empty if it has no residual block with attention, or no data.
    """
    hosts = [module for module in model.modules() if is_host(module)]
    if not hosts or ops.has_no_data(next(hosts[0].parameters())):
        return ''
    reasons = Counter(map(_reason_in_general, hosts))
    fused = reasons.pop('', 0)
    rest = ''.join(f'; {n} step by step: {reason}' for reason, n in reasons.most_common())
    return f'tails of residual blocks (norm, attention, addition, ReLU): {fused} of {len(hosts)} as one{rest}'


def _reason_in_general(host: ResidualHost) -> str:
    like = next(host.parameters())
    z = like.new_empty(1, 2, 1, 1)
    return steps_reason(host) or ops.tail_reason(z, z, _keeps_bits(host))


def block_of(host: ResidualHost) -> nn.Module:
    """The block of a host."""
    return host.__dict__[_REFERENCE]


def put_block(host: nn.Module, block: nn.Module) -> None:
    """Let ``host`` call ``block`` at the end of its residual branch."""
    host.__dict__[_REFERENCE] = block  # past nn.Module.__setattr__, which would register it
    host.__class__ = mixed_class(_MIXINS[type(host).forward], type(host), _SUFFIX)


def take_block(host: nn.Module) -> None:
    """Undo :func:`put_block`."""
    del host.__dict__[_REFERENCE]
    host.__class__ = type(host).__bases__[1]
