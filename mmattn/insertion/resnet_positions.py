"""Put blocks at the end of residual branches in MMDetection's ResNet family."""

from __future__ import annotations

from mmdet.models.backbones import detectors_resnet, res2net, resnest, resnet, resnext
from torch import nn
from torch.utils.checkpoint import checkpoint

_REFERENCE = '_mmattn_residual'


class BottleneckResidual:
    """The end of the residual branch of an mmdet bottleneck: its own ``after_conv3`` plugins."""

    # The forward of a subclass may ignore plugins or take lists of maps, as TridentNet's does.
    _FORWARDS = tuple(each.Bottleneck.forward for each in (resnet, resnext, resnest, detectors_resnet)) + (
        res2net.Bottle2neck.forward,
    )

    def fits(self, module: nn.Module) -> bool:
        return isinstance(module, resnet.Bottleneck) and type(module).forward in self._FORWARDS

    def channels(self, host: nn.Module) -> int:
        return host.conv3.out_channels

    def put(self, host: nn.Module, block: nn.Module, site: str) -> None:
        host.__dict__[_REFERENCE] = block  # past nn.Module.__setattr__, which would register it
        if not host.with_plugins:
            host.with_plugins = True
            host.after_conv1_plugin_names = []
            host.after_conv2_plugin_names = []
            host.after_conv3_plugin_names = []
        host.after_conv3_plugin_names = [*host.after_conv3_plugin_names, _REFERENCE]

    def take(self, host: nn.Module) -> None:
        del host.__dict__[_REFERENCE]
        host.after_conv3_plugin_names = [n for n in host.after_conv3_plugin_names if n != _REFERENCE]
        if host.plugins is None:
            host.with_plugins = False
            del host.after_conv1_plugin_names
            del host.after_conv2_plugin_names
            del host.after_conv3_plugin_names


class BasicBlockWithAttention(resnet.BasicBlock):
    """mmdet's ``BasicBlock`` with a block at the end of its residual branch."""

    def forward(self, x):

        def _inner_forward(x):
            out = self.relu(self.norm1(self.conv1(x)))
            out = self.__dict__[_REFERENCE](self.norm2(self.conv2(out)))
            out += x if self.downsample is None else self.downsample(x)
            return out

        if self.with_cp and x.requires_grad:
            out = checkpoint(_inner_forward, x, use_reentrant=False)
        else:
            out = _inner_forward(x)
        return self.relu(out)


class BasicBlockResidual:
    """The end of the residual branch of mmdet's ``BasicBlock`` (ResNet-18 and -34)."""

    def fits(self, module: nn.Module) -> bool:
        # Other subclasses may have a forward of their own.
        return type(module) in (resnet.BasicBlock, BasicBlockWithAttention)

    def channels(self, host: nn.Module) -> int:
        return host.conv2.out_channels

    def put(self, host: nn.Module, block: nn.Module, site: str) -> None:
        host.__dict__[_REFERENCE] = block
        host.__class__ = BasicBlockWithAttention

    def take(self, host: nn.Module) -> None:
        del host.__dict__[_REFERENCE]
        host.__class__ = resnet.BasicBlock


def ends_with_block(module: nn.Module) -> bool:
    """Return True if the residual branch of ``module`` ends with a block."""
    return _REFERENCE in module.__dict__


RESIDUAL_POSITIONS = (BottleneckResidual(), BasicBlockResidual())
