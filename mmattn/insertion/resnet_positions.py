"""Put blocks at the end of residual branches in MMDetection's ResNet family."""

from __future__ import annotations

from mmdet.models.backbones import detectors_resnet, res2net, resnest, resnet
from torch import nn

from mmattn.insertion.residual_hosts import (
    can_be_host,
    is_host,
    output_channels,
    put_block,
    tail_summary,
    take_block,
)

_REFERENCE = '_mmattn_residual_plugin'


class HostResidual:
    """The end of the residual branch of a block whose forward pass :mod:`~.residual_hosts` knows."""

    def fits(self, module: nn.Module) -> bool:
        return is_host(module) or can_be_host(module)

    def channels(self, host: nn.Module) -> int:
        return output_channels(host)

    def put(self, host: nn.Module, block: nn.Module, site: str) -> None:
        put_block(host, block)

    def take(self, host: nn.Module) -> None:
        take_block(host)


class PluginResidual:
    """The end of the residual branch of other bottlenecks: their own ``after_conv3`` plugins."""

    # The forward of a subclass may ignore plugins or take lists of maps, as TridentNet's does.
    _FORWARDS = tuple(each.Bottleneck.forward for each in (resnest, detectors_resnet)) + (
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


def ends_with_block(module: nn.Module) -> bool:
    """Return True if the residual branch of ``module`` ends with a block."""
    return is_host(module) or _REFERENCE in module.__dict__


__all__ = ['RESIDUAL_POSITIONS', 'ends_with_block', 'tail_summary']
RESIDUAL_POSITIONS = (HostResidual(), PluginResidual())
