"""Where a block can stand."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from torch import nn

from mmattn.insertion.dry_run import DEFAULT_SIZE, DryRun, dry_run, is_map
from mmattn.insertion.hosts import (
    INPUT,
    OUTPUT,
    RESIDUAL,
    conv_channels,
    host_class,
    output_channels,
    residual_host,
    why_no_host,
)
from mmattn.insertion.residual_ends import residual_end
from mmattn.insertion.virtual_names import Virtual, virtual_names

CONV, MODULE = 'conv', 'module'
_UNUSED = 'nothing is made of its map further on, so its attention would get no gradient'
KINDS = (RESIDUAL, 'stage', 'lateral', 'topdown', 'output', CONV, MODULE)


@dataclass(frozen=True)
class Site:
    """A place for a block.

    Attributes:
        name: What a rule's ``at`` matches: the dotted path of the host, or a virtual name.
        path: The dotted path of the host.
        kind: ``'residual'`` (the end of a residual branch, before the addition), ``'stage'`` (the end
            of a backbone's stage), ``'lateral'``, ``'topdown'``, ``'output'`` (of a neck), ``'conv'``
            or ``'module'``.
        channels: Channels of the map there.
        door: How a block is put there: on the host's output, its input, one map of its tuple of maps,
            or within a residual block.
        index: Which map of the tuple.
        size: Height and width of the map, where the model could be run without data.
        stride: Pixels of the picture to one of the map, likewise.
        aliases: Other names of the site; one that several sites share stands for all of them.
    """

    name: str
    path: str
    kind: str
    channels: int
    door: str = OUTPUT
    index: int | None = None
    size: tuple[int, int] | None = field(default=None, compare=False)
    stride: int | None = field(default=None, compare=False)
    aliases: tuple[str, ...] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        """The name of the block in ``model.attention``."""
        return self.name.replace('.', '_')

    def host(self, model: nn.Module):
        """The module there and the class of :mod:`mmattn.insertion.hosts` that handles it."""
        module = model.get_submodule(self.path)
        return module, host_class(module, self.door, self.index)


@dataclass(frozen=True)
class Places:
    """Every name that a rule may use.

    Attributes:
        sites: All sites, in the model's order.
        names: For each name the sites it stands for: one, or all that share a virtual name.
        refused: For each module without a site, why no block can stand there.
    """

    sites: tuple[Site, ...]
    names: dict[str, tuple[Site, ...]]
    refused: dict[str, str]


def find_places(model: nn.Module, size: tuple[int, int] = DEFAULT_SIZE) -> Places:
    """Every place in ``model`` where a block can stand, and why not elsewhere."""
    run = dry_run(model, size)
    # By a mark, since the class is made of what is defined here.
    attention = [path for path, module in model.named_modules() if getattr(module, 'holds_attention', False)]
    modules = {
        path: module
        for path, module in model.named_modules()
        if not any(path == own or path.startswith(f'{own}.') for own in attention)
    }
    refused, sites = {}, {}
    ends = {
        f'{path}.{end}': f'{path}.{RESIDUAL}'
        for path, module in modules.items()
        if (end := residual_end(module))
    }
    for path, module in modules.items():
        if path:
            why = why_no_host(module, modules[path.rpartition('.')[0]]) or _why_not(run, path, module)
            if why:
                refused[path] = why
            elif path in ends:
                sites[ends[path]] = _site(run, module, ends[path], path, RESIDUAL, aliases=(path,))
            else:
                kind = MODULE if conv_channels(module) is None else CONV
                sites[path] = _site(run, module, path, path, kind)
        host = residual_host(module)
        if host is not None:
            name = f'{path}.{RESIDUAL}' if path else RESIDUAL
            if refused.get(path) == _UNUSED:
                refused[name] = _UNUSED
            else:
                sites[name] = _site(run, module, name, path, RESIDUAL, door=RESIDUAL)
    for each in virtual_names(modules, run, set(sites)):
        if each.unused:
            refused.update((name, _UNUSED) for name in each.names)
        else:
            _add_virtual(sites, run, modules, each)
    names: dict[str, list[Site]] = {}
    for site in sites.values():
        for name in (site.name, *site.aliases):
            names.setdefault(name, []).append(site)
            refused.pop(name, None)
    return Places(tuple(sites.values()), {name: tuple(each) for name, each in names.items()}, refused)


def sites(model: nn.Module, size: tuple[int, int] = DEFAULT_SIZE) -> list[Site]:
    """Every place where a block can stand, in the model's own order.

    Args:
        model: A detector, or a part of one.
        size: Height and width of the picture for which the maps' sizes are given.

    Example:
        >>> from mmdet.models import ResNet
        >>> from mmattn import sites
        >>> [(site.name, site.channels) for site in sites(ResNet(18)) if site.kind == 'residual'][:2]
        [('layer1.0.residual', 64), ('layer1.1.residual', 64)]
        >>> [(site.name, site.stride) for site in sites(ResNet(18)) if site.kind == 'stage']
        [('layer1', 4), ('layer2', 8), ('layer3', 16), ('layer4', 32)]
    """
    return list(find_places(model, size).sites)


def _why_not(run: DryRun, path: str, module: nn.Module) -> str | None:
    """Why ``module`` has no map for a block to follow; ``None`` if it has one."""
    outputs = run.outputs(path)
    if not run.covers(path):
        if output_channels(module) is not None:
            return None
        failure = run.failure(path)
        return (
            f'it is not known whether {type(module).__name__} returns one map, and of how many '
            'channels' + (f': a run on tensors without data failed with {failure}' if failure else '')
        )
    if not outputs:
        return (
            f'{type(module).__name__} is never called when the model runs, so its attention would '
            'get no gradient'
        )
    if not all(is_map(output) for output in outputs):
        return f'{type(module).__name__} returns {_describe(outputs)}, not one map (N, C, H, W)'
    if all(id(output) in run.unused for output in outputs):
        return _UNUSED
    if len(outputs) > 1 and next(module.parameters(), None) is None:
        return (
            f'{type(module).__name__} has no weights and is called {len(outputs)} times in a forward '
            f'pass: a block would stand in {len(outputs)} places'
        )
    channels = sorted({output.size(1) for output in outputs})
    if len(channels) > 1:
        return (
            f'{type(module).__name__} is called {len(outputs)} times in a forward pass, with maps of '
            f'{", ".join(map(str, channels))} channels'
        )
    return None


def _describe(outputs: Iterable) -> str:
    output = next(each for each in outputs if not is_map(each))
    if hasattr(output, 'shape'):
        return f'a tensor of shape {tuple(output.shape)}'
    if isinstance(output, (list, tuple)):
        return f'a {type(output).__name__} of {len(output)}'
    return f'a {type(output).__name__}'


def _site(
    run: DryRun,
    module: nn.Module,
    name: str,
    path: str,
    kind: str,
    door: str = OUTPUT,
    index: int | None = None,
    aliases: tuple[str, ...] = (),
) -> Site:
    maps = run.inputs(path) if door == INPUT else run.outputs(path)
    if index is not None:
        maps = [each[index] for each in maps]
    maps = [each for each in maps if is_map(each)]
    if not maps:
        return Site(name, path, kind, output_channels(module), door, index, aliases=aliases)
    height, width = maps[-1].shape[2:]
    sizes = {tuple(each.shape[2:]) for each in maps}
    if len(sizes) > 1:  # one module for all levels of a pyramid
        return Site(name, path, kind, maps[-1].size(1), door, index, aliases=aliases)
    return Site(
        name,
        path,
        kind,
        maps[-1].size(1),
        door,
        index,
        (height, width),
        _stride(run.size, (height, width)),
        aliases,
    )


def _stride(picture: tuple[int, int], size: tuple[int, int]) -> int:
    """Maps of odd size were rounded up, so 800 pixels to 13 are a stride of 64, and to 7 one of 128."""
    ratio = picture[0] / size[0]
    power = 2 ** round(math.log2(ratio))
    rounded_up = all(-(-pixels // power) == each for pixels, each in zip(picture, size))
    return power if rounded_up or 0.9 < ratio / power < 1.1 else round(ratio)


def _add_virtual(sites: dict[str, Site], run: DryRun, modules: dict[str, nn.Module], each: Virtual) -> None:
    """Give a site its virtual names; make it, where it is not the output of a module."""
    if each.door == OUTPUT:
        name = (
            each.path
            if each.path in sites
            else next((name for name, site in sites.items() if each.path in site.aliases), None)
        )
        if name is None:  # what stands there is refused
            return
        sites[name] = replace(sites[name], kind=each.kind, aliases=(*sites[name].aliases, *each.names))
        return
    name, *aliases = each.names
    new = _site(run, modules[each.path], name, each.path, each.kind, each.door, each.index, tuple(aliases))
    # Behind what stands below the same module, in the order of the table.
    items = list(sites.items())
    at = max(
        (
            i
            for i, (_, site) in enumerate(items)
            if not each.path or f'{site.path}.'.startswith(f'{each.path}.')
        ),
        default=len(items) - 1,
    )
    items.insert(at + 1, (name, new))
    sites.clear()
    sites.update(items)
