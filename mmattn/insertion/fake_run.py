"""Run a model on fake tensors and record the maps that flow through it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parameter import is_lazy

from mmattn.insertion.attention import Attention
from mmattn.insertion.fake_tensors import without_data
from mmattn.insertion.residual_trace import ResidualTrace

# Divisible by 256, so that maps of all levels have whole sizes; not square.
DEFAULT_SIZE = (768, 1280)


@dataclass
class FakeRun:
    """One forward pass of a model's backbone, neck and dense heads.

    Attributes:
        size: Height and width of the image.
        calls: Calls of each module by its path: arguments and output, with fake tensors.
        covered: Paths of the modules that ran to their end: a module below one of them that has no calls
            never runs. ``''`` is the model itself.
        failed: Error of each module that could not be run, by its path.
        aliases: Views that replace a backbone's output maps, by ``id`` of the map. They distinguish use of
            the output by the neck from use by the backbone's next stage.
        unused: ``id`` of each backbone map that no feature depends on.
        residual_ends: Path of the child that ends the branch of each residual block, by the block's path.
    """

    size: tuple[int, int]
    calls: dict[str, list[tuple[tuple, Any]]] = field(default_factory=dict)
    covered: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    aliases: dict[int, Tensor] = field(default_factory=dict)
    unused: set[int] = field(default_factory=set)
    residual_ends: dict[str, str] = field(default_factory=dict)

    def covers(self, path: str) -> bool:
        """Return True if ``path`` lies in a module that was run."""
        return any(not part or f'{path}.'.startswith(f'{part}.') for part in self.covered)

    def failure(self, path: str) -> str | None:
        """Return the error of the failed module that contains ``path``, or ``None``."""
        return next(
            (why for part, why in self.failed.items() if not part or f'{path}.'.startswith(f'{part}.')), None
        )

    def outputs(self, path: str) -> list:
        """Return the output of each call."""
        return [output for _, output in self.calls.get(path, [])]

    def inputs(self, path: str) -> list:
        """Return the first argument of each call."""
        return [args[0] for args, _ in self.calls.get(path, []) if args]


def is_map(value) -> bool:
    """Return True if ``value`` is one tensor ``(N, C, H, W)``."""
    return isinstance(value, Tensor) and value.dim() == 4


def fake_run(model: nn.Module, size: tuple[int, int] = DEFAULT_SIZE) -> FakeRun:
    """Run the feature extraction of each detector in ``model``, and its dense heads, on fake tensors.

    Nothing is computed, no memory is taken, and the model is left as it was. Attention that it has passes its
    maps on, so that what flows is what flows without it. A model without a backbone is
    called with an image, or, if its ``in_channels`` is a list, as a neck with maps of those channels.

    Raises:
        TypeError: ``model`` is not a module, or contains one of TorchScript.
        ValueError: ``size`` is invalid, or a module has parameters without shapes.
    """
    _require_runnable(model, size)
    run = FakeRun(tuple(size))
    paths = {id(module): path for path, module in model.named_modules()}
    detectors = list(_detectors(model))
    backbones = {id(detector.backbone) for _, detector in detectors}
    attention = [part for part in model.modules() if isinstance(part, Attention)]
    blocks = {id(block) for part in attention for block in part.values()}

    def look_through(module, args, output):
        return args[0] if id(module) in blocks else None

    def record(module, args, output):
        path = paths.get(id(module))
        if path is not None:
            run.calls.setdefault(path, []).append((args, output))
        return _aliased(run, output) if id(module) in backbones else None

    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    with without_data(model):
        options = dict(device=like.device, dtype=like.dtype)
        trace = ResidualTrace()
        hooks = [
            register_module_forward_hook(look_through),  # the first, so that the others see what it returns
            register_module_forward_hook(record),
            register_module_forward_pre_hook(trace.before),
            register_module_forward_hook(trace.after, always_call=True),
        ]
        try:
            with trace:
                for path, detector in detectors:
                    _run_detector(run, path, detector, size, options)
                if not detectors:
                    _run_part(run, model, size, options)
        finally:
            for hook in hooks:
                hook.remove()
    run.residual_ends = {
        paths[block]: paths[id(end)]
        for block, end in trace.ends.items()
        if block in paths and id(end) in paths
    }
    return run


def _require_runnable(model, size) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f'a model is needed, an nn.Module; got {model!r}')
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 2
        or not all(isinstance(each, int) and each > 0 for each in size)
    ):
        raise ValueError(f'an image size is (height, width), two positive integers; got {size!r}')
    for path, module in model.named_modules():
        where = f"its part '{path}'" if path else 'the model'
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                f'{where} is compiled by TorchScript, which cannot be changed: insert '
                'attention first, script or trace the model afterwards'
            )
        if any(is_lazy(each) for each in [*module.parameters(recurse=False), *module.buffers(recurse=False)]):
            raise ValueError(
                f'{where}, {type(module).__name__}, has parameters without a shape until its '
                'first forward pass: run the model once before'
            )


def _detectors(model: nn.Module, path: str = '') -> Iterator[tuple[str, nn.Module]]:
    """Yield the outermost modules that have a backbone, with their paths."""
    # Look at children only: torch.compile's wrapper also has the attributes of the wrapped module.
    if 'backbone' in dict(model.named_children()):
        yield path, model
        return
    for name, child in model.named_children():
        yield from _detectors(child, f'{path}.{name}' if path else name)


def _run_detector(run: FakeRun, path: str, detector: nn.Module, size, options) -> None:
    prefix = f'{path}.' if path else ''
    parts = [
        f'{prefix}{name}'
        for name in ('backbone', 'neck')
        if isinstance(getattr(detector, name, None), nn.Module)
    ]
    extract = getattr(detector, 'extract_feat', _Chained(detector))
    # Gradients show which backbone maps are used.
    options = dict(options, requires_grad=True)
    features = _try(run, parts, extract, torch.empty(1, 3, *size, **options))
    conv = next((each for each in detector.backbone.modules() if isinstance(each, nn.Conv2d)), None)
    if parts[0] in run.failed and conv is not None and conv.in_channels != 3:  # not color images
        run.calls = {name: calls for name, calls in run.calls.items() if not f'{name}.'.startswith(prefix)}
        features = _try(run, parts, extract, torch.empty(1, conv.in_channels, *size, **options))
    if not isinstance(features, (list, tuple)):
        return
    _note_unused(run, parts[0], features)
    for name, child in detector.named_children():
        if name.endswith('_head'):  # one-stage heads need features only; others fail
            _try(run, [f'{prefix}{name}'], child, features)


class _Chained:
    """Feature extraction of a detector without ``extract_feat``, such as a video detector."""

    def __init__(self, detector: nn.Module):
        self.backbone = detector.backbone
        self.neck = getattr(detector, 'neck', None) or nn.Identity()

    def __call__(self, image):
        return self.neck(self.backbone(image))


def _aliased(run: FakeRun, output):
    """Return the backbone's output with a view in place of each map."""
    if is_map(output):
        return run.aliases.setdefault(id(output), output.view_as(output))
    if type(output) in (list, tuple):
        return type(output)(_aliased(run, each) for each in output)
    if isinstance(output, tuple) and hasattr(output, '_fields'):
        return type(output)(*(_aliased(run, each) for each in output))
    return output


def _maps(value) -> list[Tensor]:
    """Return all maps in a backbone's output."""
    if is_map(value):
        return [value]
    return [each for part in value for each in _maps(part)] if isinstance(value, (list, tuple)) else []


def _note_unused(run: FakeRun, backbone: str, features) -> None:
    """Find the maps that no feature depends on: FPN skips those below its start_level."""
    ends = [each.sum() for each in _maps(features) if each.requires_grad]
    maps = _maps(run.outputs(backbone)[-1])
    _mark_unused(run, ends, [*maps, *(run.aliases.get(id(each), each) for each in maps)])
    if any(id(each) in run.unused for each in maps):  # then maps that only lead to these are unused too
        _mark_unused(
            run,
            ends,
            [
                output
                for name in run.calls
                if name.startswith(f'{backbone}.')
                for output in run.outputs(name)
                if is_map(output)
            ],
        )


def _mark_unused(run: FakeRun, ends: list[Tensor], maps: list[Tensor]) -> None:
    maps = [each for each in maps if each.requires_grad]
    if not maps or not ends:
        return
    try:
        gradients = torch.autograd.grad(ends, maps, allow_unused=True, retain_graph=True)
    except RuntimeError:  # not differentiable on fake tensors
        return
    run.unused |= {id(each) for each, gradient in zip(maps, gradients) if gradient is None}


def _run_part(run: FakeRun, model: nn.Module, size, options) -> None:
    """Run a backbone or a neck by itself."""
    channels = getattr(model, 'in_channels', None)
    if isinstance(channels, (list, tuple)):
        maps = [
            torch.empty(1, c, size[0] >> i + 2, size[1] >> i + 2, **options) for i, c in enumerate(channels)
        ]
        _try(run, [''], model, maps)
        return
    # MobileNetV2 counts its in_channels up while it is built: then its first convolution knows better.
    conv = next((each for each in model.modules() if isinstance(each, nn.Conv2d)), None)
    for each in (channels if isinstance(channels, int) else 3, conv.in_channels if conv else 3):
        run.calls.clear()
        _try(run, [''], model, torch.empty(1, each, *size, **options))
        if not run.failed:
            return


def _try(run: FakeRun, paths: list[str], function, *args):
    try:
        output = function(*args)
    except Exception as error:  # a forward may raise anything
        text = str(error).strip().partition('\n')[0]
        for path in paths:
            if run.outputs(path):  # a backbone whose neck failed
                run.covered.append(path)
            else:
                run.failed[path] = f'{type(error).__name__}: {text}'
        return None
    run.covered += paths
    for path in paths:
        run.failed.pop(path, None)
    return output
