"""Find the sites of a model, and the reasons why other modules are none."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import nn

from mmattn.insertion.attention import Attention
from mmattn.insertion.fake_run import DEFAULT_SIZE, FakeRun, fake_run, is_map
from mmattn.insertion.module_traits import conv_channels, is_norm, output_channels, why_no_host
from mmattn.insertion.positions import residual_position
from mmattn.insertion.site import CONV, INPUT, MODULE, OUTPUT, RESIDUAL, Site
from mmattn.insertion.virtual_names import Virtual, virtual_names

_UNUSED = 'no later layer uses its output, so a block there would get no gradient'


@dataclass(frozen=True)
class SiteTable:
    """All sites of a model, by every name that a rule may use.

    Attributes:
        sites: All sites, in the model's order.
        names: Sites by name: one, or all that share a virtual name.
        refused: Reason why a module is no site, by its path.
    """

    sites: tuple[Site, ...]
    names: dict[str, tuple[Site, ...]]
    refused: dict[str, str]


def find_sites(model: nn.Module, size: tuple[int, int] = DEFAULT_SIZE) -> SiteTable:
    """Return every site of ``model``, and the reason why each other module is none."""
    run = fake_run(model, size)
    attention = [path for path, module in model.named_modules() if isinstance(module, Attention)]
    modules = {
        path: module
        for path, module in model.named_modules()
        if not any(path == own or path.startswith(f'{own}.') for own in attention)
    }
    refused, sites = {}, {}
    ends = {
        block: end
        for block, end in run.residual_ends.items()
        if block in modules and _in_backbone(block, modules)
    }
    hosts = {
        end: block
        for block, end in ends.items()
        if residual_position(modules[block]) is None and not is_norm(modules[end])
    }
    for path, module in modules.items():
        if path:
            why = why_no_host(module, modules[path.rpartition('.')[0]]) or _why_not(run, path, module)
            if why:
                refused[path] = why
            elif path in hosts:
                site = _site_of_end(run, module, path, _residual_name(hosts[path]))
                sites[site.name] = site
            else:
                part = MODULE if conv_channels(module) is None else CONV
                sites[path] = _site(run, module, path, path, part)
        has_place = residual_position(module) is not None
        if has_place or path in ends and is_norm(modules[ends[path]]):
            name = _residual_name(path)
            if refused.get(path) == _UNUSED:
                refused[name] = _UNUSED
            else:
                site = _site(run, module, name, path, RESIDUAL, position=RESIDUAL)
                sites[name] = site if has_place else replace(site, end=ends[path][len(path) :].lstrip('.'))
    for each in virtual_names(modules, run, set(sites)):
        if each.unused:
            refused.update((name, _UNUSED) for name in each.names)
        elif each.no_map:
            module, outputs = modules[each.path], run.outputs(each.path)
            refused[each.names[0]] = (
                f'{type(module).__name__} returns {_describe(outputs)}, no map (N, C, H, W)'
            )
        else:
            _add_virtual(sites, run, modules, each)
    names: dict[str, list[Site]] = {}
    for site in sites.values():
        for name in (site.name, *site.aliases):
            names.setdefault(name, []).append(site)
            refused.pop(name, None)
    return SiteTable(tuple(sites.values()), {name: tuple(each) for name, each in names.items()}, refused)


def sites(model: nn.Module, size: tuple[int, int] = DEFAULT_SIZE) -> list[Site]:
    """Return every place where a block can stand, in the model's own order.

    Args:
        model: A detector, or a part of one.
        size: Height and width of the image for which the maps' sizes are given.

    Example:
        >>> from mmdet.models import ResNet
        >>> from mmattn import sites
        >>> [(site.name, site.channels) for site in sites(ResNet(18)) if site.part == 'residual'][:2]
        [('layer1.0.residual', 64), ('layer1.1.residual', 64)]
        >>> [(site.name, site.stride) for site in sites(ResNet(18)) if site.part == 'stage']
        [('layer1', 4), ('layer2', 8), ('layer3', 16), ('layer4', 32)]
    """
    return list(find_sites(model, size).sites)


def _residual_name(block: str) -> str:
    return f'{block}.{RESIDUAL}' if block else RESIDUAL


def _site_of_end(run: FakeRun, module: nn.Module, path: str, name: str) -> Site:
    """Return the site at the child that ends a residual branch."""
    (inputs, output), *_ = run.calls[path]
    if inputs and inputs[0] is output:  # drop path: a block stands before it
        return _site(run, module, name, path, RESIDUAL, position=INPUT)
    return _site(run, module, name, path, RESIDUAL, aliases=(path,))


def _in_backbone(path: str, modules: Iterable[str]) -> bool:
    """Return True if ``path`` lies in a backbone, or the model is a part by itself.

    In necks and heads, what adds to its input is mostly attention itself, as NonLocal is.
    """
    return 'backbone' in path.split('.') or not any(name.split('.')[-1] == 'backbone' for name in modules)


def _why_not(run: FakeRun, path: str, module: nn.Module) -> str | None:
    """Return why ``module`` has no map for a block to follow, or ``None`` if it has one."""
    outputs = run.outputs(path)
    if not run.covers(path):
        if output_channels(module) is not None:
            return None
        failure = run.failure(path)
        return (
            f'it is unknown whether {type(module).__name__} returns one map, and with how many '
            'channels' + (f': a run on fake tensors failed with {failure}' if failure else '')
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
            f'pass: a block would act in {len(outputs)} places'
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
        is_told = len(output) == 1 and not is_map(output[0])
        return f'a {type(output).__name__} of {_describe(output) if is_told else len(output)}'
    return f'a {type(output).__name__}'


def _site(
    run: FakeRun,
    module: nn.Module,
    name: str,
    path: str,
    part: str,
    position: str = OUTPUT,
    index: int | None = None,
    aliases: tuple[str, ...] = (),
) -> Site:
    maps = run.inputs(path) if position == INPUT else run.outputs(path)
    if index is not None:
        maps = [each[index] for each in maps]
    maps = [each for each in maps if is_map(each)]
    if not maps:
        return Site(name, path, part, output_channels(module), position, index, aliases=aliases)
    height, width = maps[-1].shape[2:]
    sizes = {tuple(each.shape[2:]) for each in maps}
    if len(sizes) > 1:  # one module for all levels of a pyramid
        return Site(name, path, part, maps[-1].size(1), position, index, aliases=aliases)
    return Site(
        name,
        path,
        part,
        maps[-1].size(1),
        position,
        index,
        (height, width),
        _stride(run.size, (height, width)),
        aliases,
    )


def _stride(image: tuple[int, int], size: tuple[int, int]) -> int:
    """Return the stride. Sizes are rounded up: 800 pixels to 13 are a stride of 64, to 7 one of 128."""
    ratio = image[0] / size[0]
    power = 2 ** round(math.log2(ratio))
    rounded_up = all(-(-pixels // power) == each for pixels, each in zip(image, size))
    return power if rounded_up or 0.9 < ratio / power < 1.1 else round(ratio)


def _add_virtual(sites: dict[str, Site], run: FakeRun, modules: dict[str, nn.Module], each: Virtual) -> None:
    """Give a site its virtual names; add the site if it is not the output of a module."""
    if each.position == OUTPUT:
        name = (
            each.path
            if each.path in sites
            else next((name for name, site in sites.items() if each.path in site.aliases), None)
        )
        if name is None:  # the module there is refused
            return
        sites[name] = replace(sites[name], part=each.part, aliases=(*sites[name].aliases, *each.names))
        return
    name, *aliases = each.names
    new = _site(
        run, modules[each.path], name, each.path, each.part, each.position, each.index, tuple(aliases)
    )
    # In the table's order: after the sites of the same module and of those below it.
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
