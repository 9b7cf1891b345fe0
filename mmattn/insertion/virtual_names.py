"""Find the names that every detector shares: a backbone's stages, a neck's laterals and outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from mmattn.insertion.fake_run import FakeRun, is_map
from mmattn.insertion.site import ELEMENT, INPUT, OUTPUT

# Where MMDetection's necks have the merged map of the top-down path: the input of FPN's output
# convolutions, the output of the blocks of YOLOX's PAFPN.
_TOP_DOWN = {'fpn_convs': INPUT, 'top_down_blocks': OUTPUT}


@dataclass(frozen=True)
class Virtual:
    """Virtual names of one site.

    Attributes:
        names: The names; the first names the site, the others are aliases.
        part: Part of the architecture; see :class:`~mmattn.insertion.site.Site`.
        path: Path of the host.
        position: How a block is put there.
        index: Index of the map in the host's tuple.
        unused: True if no later layer uses the map.
        no_map: True if what the module returns has no map in it.
    """

    names: tuple[str, ...]
    part: str
    path: str
    position: str = OUTPUT
    index: int | None = None
    unused: bool = False
    no_map: bool = False


def virtual_names(modules: dict[str, nn.Module], run: FakeRun, sites: set[str]) -> Iterator[Virtual]:
    """Yield all virtual names in a model.

    Args:
        modules: The model's modules by path.
        run: The recorded run of the model.
        sites: Names of the sites found so far.
    """
    parts = {
        name: [path for path in modules if path.rpartition('.')[2] == name] for name in ('backbone', 'neck')
    }
    if not any(parts.values()):  # a backbone or a neck by itself
        necks = [''] if isinstance(getattr(modules[''], 'in_channels', None), (list, tuple)) else []
        parts = dict(backbone=[] if necks else [''], neck=necks)
    for path in parts['backbone']:
        yield from _stages(path, modules, run, sites)
    for path in parts['neck']:
        yield from _laterals(path, modules, run)
        yield from _top_down(path, modules, run)
        yield from _outputs(path, run)


def _below(path: str, name: str) -> str:
    return f'{path}.{name}' if path else name


def _stages(path, modules, run, sites):
    """Yield ``stage1`` and so on: the backbone's own stages if it names them, else the maps it returns."""
    layers = getattr(modules[path], 'res_layers', None)
    if isinstance(layers, (list, tuple)) and all(_below(path, name) in sites for name in layers):
        for i, name in enumerate(layers, start=1):
            yield Virtual((_below(path, f'stage{i}'),), 'stage', _below(path, name))
        return
    own = {name for name in (f'stage{i}' for i in range(10)) if _below(path, name) in sites}
    for name in sorted(own):
        yield Virtual((), 'stage', _below(path, name))
    if own:
        return
    maps = _maps(run, path)
    for (index, each), number in zip(maps, _stage_numbers(run, [each for _, each in maps])):
        names = (_below(path, f'stage{number}'),)
        host = _host_of(each, path, run, sites)
        acted_on = each if host else run.aliases.get(id(each), each)
        if id(acted_on) in run.unused:
            yield Virtual(names, 'stage', path, unused=True)
        elif host:
            yield Virtual(names, 'stage', host)
        else:
            position = OUTPUT if index is None else ELEMENT
            yield Virtual(names, 'stage', path, position, index)


def _stage_numbers(run, maps) -> list[int]:
    """Return 1 for stride 4, 2 for stride 8, and so on; or just count if strides are ambiguous."""
    numbers = [round(math.log2(run.size[0] / each.size(2))) - 1 for each in maps]
    rising = all(a < b for a, b in zip(numbers, numbers[1:]))
    return numbers if rising and numbers and numbers[0] > 0 else list(range(1, len(maps) + 1))


def _host_of(each, path, run, sites) -> str | None:
    """Return the outermost site below ``path`` whose module returned this very map."""
    hosts = [
        name
        for name in sites
        if name.startswith(f'{path}.' if path else '')
        and name != path
        and len(run.outputs(name)) == 1
        and run.outputs(name)[0] is each
    ]
    return min(hosts, key=lambda name: name.count('.'), default=None)


def _laterals(path, modules, run):
    """Yield the neck's lateral of each backbone map: same size, not merged with other maps yet."""
    backbone = _below(path.rpartition('.')[0], 'backbone')
    fed = [run.aliases.get(id(each), each) for _, each in _maps(run, backbone)]
    if not path:  # a neck by itself: all its inputs are backbone maps
        fed = [each for inputs in run.inputs('') for each in inputs if is_map(each)]
    found = []
    for name in modules:
        calls = run.calls.get(name) if name and name.startswith(f'{path}.' if path else '') else None
        if not calls or not calls[0][0] or not is_map(calls[0][1]):
            continue
        (source, *_), output = calls[0]  # the first: a recursive pyramid comes back with other maps
        level = next((i for i, each in enumerate(fed) if each is source), None)
        inside = any(name.startswith(f'{other}.') for _, other in found)
        if level is not None and not inside and output.shape[2:] == source.shape[2:]:
            found.append((level, name))
    for i, (_, name) in enumerate(sorted(found)):
        yield Virtual((_below(path, f'lateral.{i}'), _below(path, 'lateral')), 'lateral', name)


def _top_down(path, modules, run):
    # The neck itself, or the members of a sequence of necks.
    for part in [path, *(name for name in modules if name.rpartition('.')[0] == path and name)]:
        for name, position in _TOP_DOWN.items():
            convs = modules.get(_below(part, name))
            laterals = getattr(modules[part], 'lateral_convs', ())
            if convs is None or (position == INPUT and not laterals):
                continue
            hosts = [f'{_below(part, name)}.{i}' for i in range(len(convs))]
            if position == INPUT:  # one per lateral; further convolutions make extra levels
                hosts = [
                    host for host in hosts[: len(laterals)] if is_map(next(iter(run.inputs(host)), None))
                ]
            for i, host in enumerate(hosts):
                names = (_below(path, f'topdown.{i}'), _below(path, 'topdown'))
                yield Virtual(names, 'topdown', host, position)


def _outputs(path, run):
    if run.covers(path) and run.outputs(path) and not _maps(run, path):
        yield Virtual((_below(path, 'output'),), 'output', path, no_map=True)
    for i, (index, _) in enumerate(_maps(run, path)):
        names = (_below(path, f'output.{i}'), _below(path, 'output'))
        if index is not None:
            yield Virtual(names, 'output', path, ELEMENT, index)
        elif path:
            yield Virtual(names, 'output', path)


def _maps(run, path) -> list[tuple]:
    """Return the maps that the module at ``path`` returned, with their index; ``None`` for a single map."""
    outputs = run.outputs(path)
    if not outputs or not run.covers(path):
        return []
    output = outputs[-1]
    if is_map(output):
        return [(None, output)]
    if not isinstance(output, (list, tuple)):
        return []
    return [(i, each) for i, each in enumerate(output) if is_map(each)]
