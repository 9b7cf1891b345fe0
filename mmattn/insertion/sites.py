"""Where a block can stand."""
from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from mmattn.insertion.hosts import OutputHost, output_channels, residual_host, why_no_host

RESIDUAL = 'residual'


@dataclass(frozen=True)
class Site:
    """A place for one block: after a module, on its output.

    Attributes:
        name: What a rule's ``at`` matches: the dotted path of the host, with ``.residual`` behind it
            for the end of a residual branch (before the addition).
        path: The dotted path of the host.
        kind: ``'residual'`` or ``'output'``.
        channels: Channels of the map there.
    """
    name: str
    path: str
    kind: str
    channels: int

    @property
    def key(self) -> str:
        """The name of the block in ``model.attention``."""
        return self.name.replace('.', '_')

    def host(self, model: nn.Module):
        """The module there and the class of :mod:`mmattn.insertion.hosts` that handles it."""
        module = model.get_submodule(self.path)
        return module, OutputHost if self.kind == OutputHost.kind else residual_host(module)


def find_sites(model: nn.Module) -> dict[str, Site | str]:
    """Every name that a rule may match, with its site or the reason why no block can stand there."""
    found: dict[str, Site | str] = {}
    # By a mark, since the class is made of what is defined here.
    attention = [path for path, module in model.named_modules() if getattr(module, 'holds_attention', False)]
    for path, module in model.named_modules():
        if not path or any(path == own or path.startswith(f'{own}.') for own in attention):
            continue
        parent = model.get_submodule(path.rpartition('.')[0])
        found[path] = why_no_host(module, parent) or Site(path, path, OutputHost.kind,
                                                          output_channels(module))
        residual = residual_host(module)
        if residual is not None:
            name = f'{path}.{RESIDUAL}'
            found[name] = Site(name, path, residual.kind, residual.channels(module))
    return found


def sites(model: nn.Module) -> list[Site]:
    """Every place where a block can stand, in the model's own order.

    Example:
        >>> from mmdet.models import ResNet
        >>> from mmattn import sites
        >>> [(site.name, site.channels) for site in sites(ResNet(18)) if site.kind == 'residual'][:2]
        [('layer1.0.residual', 64), ('layer1.1.residual', 64)]
    """
    return [site for site in find_sites(model).values() if isinstance(site, Site)]
