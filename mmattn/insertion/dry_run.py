"""What flows through a model, found by running it on tensors that have shapes but no data."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.parameter import is_lazy

from mmattn.blocks import TemporalAttention
from mmattn.insertion.compiled_ops import shapes_only

# Divisible by 256, so that any pyramid has whole maps, and not square.
DEFAULT_SIZE = (768, 1280)

_ONE_AT_A_TIME = Lock()  # what is patched and restored is the process's and the model's


@dataclass
class DryRun:
    """One forward pass of a model's backbone, neck and dense heads.

    Attributes:
        size: Height and width of the picture.
        calls: For each module by its path, its calls: arguments and output, with fake tensors.
        covered: Paths of the modules that ran to their end: what is below one of them and has no calls
            never runs. ``''`` is the model itself.
        failed: For each module that could not be run, why.
        handed_on: For each map that a backbone returned, by ``id``, the tensor that its user was given
            instead, so that what becomes of the output can be told from what the next stage makes of it.
        unused: Maps of a backbone of which no feature is made, by ``id``.
    """

    size: tuple[int, int]
    calls: dict[str, list[tuple[tuple, Any]]] = field(default_factory=dict)
    covered: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    handed_on: dict[int, Tensor] = field(default_factory=dict)
    unused: set[int] = field(default_factory=set)

    def covers(self, path: str) -> bool:
        """Whether ``path`` lies in what was run."""
        return any(not part or f'{path}.'.startswith(f'{part}.') for part in self.covered)

    def failure(self, path: str) -> str | None:
        """Why ``path`` was not run, where it lies in what could not be run."""
        return next(
            (why for part, why in self.failed.items() if not part or f'{path}.'.startswith(f'{part}.')), None
        )

    def outputs(self, path: str) -> list:
        return [output for _, output in self.calls.get(path, [])]

    def inputs(self, path: str) -> list:
        """The first argument of each call."""
        return [args[0] for args, _ in self.calls.get(path, []) if args]


def is_map(value) -> bool:
    """Whether ``value`` is one tensor ``(N, C, H, W)``."""
    return isinstance(value, Tensor) and value.dim() == 4


def dry_run(model: nn.Module, size: tuple[int, int] = DEFAULT_SIZE) -> DryRun:
    """Run the feature extraction of each detector in ``model``, and its dense heads, on fake tensors.

    Nothing is computed, no memory is taken, and the model is left as it was. A model without
    ``extract_feat`` is called as a backbone with a picture, or, where ``in_channels`` is a list, as a
    neck with maps of those channels.

    Raises:
        TypeError: Not a module, or one of TorchScript. ValueError: A size that is none, or a module
            whose parameters have no shapes yet.
    """
    _require_runnable(model, size)
    run = DryRun(tuple(size))
    paths = {id(module): path for path, module in model.named_modules()}
    detectors = list(_detectors(model))
    backbones = {id(detector.backbone) for _, detector in detectors}

    def record(module, args, output):
        path = paths.get(id(module))
        if path is not None:
            run.calls.setdefault(path, []).append((args, output))
        return _hand_on(run, output) if id(module) in backbones else None

    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    with without_data(model):
        options = dict(device=like.device, dtype=like.dtype)
        hook = register_module_forward_hook(record)
        try:
            for path, detector in detectors:
                _run_detector(run, path, detector, size, options)
            if not detectors:
                _try(run, [''], model, _own_input(model, size, options))
        finally:
            hook.remove()
    return run


def _require_runnable(model, size) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f'a model is needed, an nn.Module; got {model!r}')
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 2
        or not all(isinstance(each, int) and each > 0 for each in size)
    ):
        raise ValueError(f"a picture's size is (height, width), two positive integers; got {size!r}")
    for path, module in model.named_modules():
        where = f"its part '{path}'" if path else 'the model'
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                f'{where} is compiled by TorchScript, which lets nothing in any more: insert '
                'attention first, script or trace the model afterwards'
            )
        if any(is_lazy(each) for each in [*module._parameters.values(), *module._buffers.values()]):
            raise ValueError(
                f'{where}, {type(module).__name__}, has parameters without a shape until its '
                'first forward pass: run the model once before'
            )


def _detectors(model: nn.Module, path: str = '') -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that have a backbone."""
    # As a child of its own: torch.compile's wrapper has the attributes of what it wraps.
    if isinstance(model._modules.get('backbone'), nn.Module):
        yield path, model
        return
    for name, child in model.named_children():
        yield from _detectors(child, f'{path}.{name}' if path else name)


def _run_detector(run: DryRun, path: str, detector: nn.Module, size, options) -> None:
    prefix = f'{path}.' if path else ''
    parts = [
        f'{prefix}{name}'
        for name in ('backbone', 'neck')
        if isinstance(getattr(detector, name, None), nn.Module)
    ]
    extract = getattr(detector, 'extract_feat', _Chained(detector))
    # With a gradient, to follow what becomes of the backbone's maps.
    options = dict(options, requires_grad=True)
    features = _try(run, parts, extract, torch.empty(1, 3, *size, **options))
    conv = next((each for each in detector.backbone.modules() if isinstance(each, nn.Conv2d)), None)
    if parts[0] in run.failed and conv is not None and conv.in_channels != 3:  # no colour pictures
        run.calls = {name: calls for name, calls in run.calls.items() if not f'{name}.'.startswith(prefix)}
        features = _try(run, parts, extract, torch.empty(1, conv.in_channels, *size, **options))
    if not isinstance(features, (list, tuple)):
        return
    _note_unused(run, parts[0], features)
    for name, child in detector.named_children():
        if name.endswith('_head'):  # those of one stage need features only; others will not run
            _try(run, [f'{prefix}{name}'], child, features)


class _Chained:
    """Feature extraction of a detector that has no method for it, as those of videos."""

    def __init__(self, detector: nn.Module):
        self.backbone = detector.backbone
        self.neck = getattr(detector, 'neck', None) or nn.Identity()

    def __call__(self, picture):
        return self.neck(self.backbone(picture))


def _hand_on(run: DryRun, output):
    """The backbone's output with a view in place of each map."""
    if is_map(output):
        return run.handed_on.setdefault(id(output), output.view_as(output))
    if type(output) in (list, tuple):
        return type(output)(_hand_on(run, each) for each in output)
    if isinstance(output, tuple) and hasattr(output, '_fields'):
        return type(output)(*(_hand_on(run, each) for each in output))
    return output


def _maps(value) -> list[Tensor]:
    """All maps in a backbone's output."""
    if is_map(value):
        return [value]
    return [each for part in value for each in _maps(part)] if isinstance(value, (list, tuple)) else []


def _note_unused(run: DryRun, backbone: str, features) -> None:
    """Find the maps from which no feature is made: FPN passes over those below its start_level."""
    ends = [each.sum() for each in _maps(features) if each.requires_grad]
    maps = _maps(run.outputs(backbone)[-1])
    _mark_unused(run, ends, [*maps, *(run.handed_on.get(id(each), each) for each in maps)])
    if any(id(each) in run.unused for each in maps):  # then nor of those that led to it alone
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


def _mark_unused(run: DryRun, ends: list[Tensor], maps: list[Tensor]) -> None:
    maps = [each for each in maps if each.requires_grad]
    if not maps or not ends:
        return
    try:
        gradients = torch.autograd.grad(ends, maps, allow_unused=True, retain_graph=True)
    except RuntimeError:  # not to be differentiated without data; then nothing is known
        return
    run.unused |= {id(each) for each, gradient in zip(maps, gradients) if gradient is None}


def _own_input(model: nn.Module, size, options):
    channels = getattr(model, 'in_channels', None)
    if isinstance(channels, (list, tuple)):
        return [
            torch.empty(1, c, size[0] >> i + 2, size[1] >> i + 2, **options) for i, c in enumerate(channels)
        ]
    return torch.empty(1, channels if isinstance(channels, int) else 3, *size, **options)


def _try(run: DryRun, paths: list[str], function, *args):
    try:
        output = function(*args)
    except Exception as error:  # whatever a model's forward may raise; told where it matters
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


@contextmanager
def without_data(model: nn.Module):
    """A context for running ``model`` on fake tensors, in evaluation, that leaves it as it was."""
    with _ONE_AT_A_TIME, _left_as_it_was(model), FakeTensorMode(allow_non_fake_inputs=True), shapes_only():
        yield


@contextmanager
def _left_as_it_was(model: nn.Module):
    """Evaluate, and undo whatever a forward pass leaves on the modules."""
    before = [(module, dict(module.__dict__), _contents(module)) for module in model.modules()]
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for module, _, _ in before:
            module.training = False  # not eval(), which detectors override
            if isinstance(module, TemporalAttention):
                module.num_frames = 1  # one picture is a clip
        try:
            yield
        finally:
            for module, attributes, contents in before:
                module.__dict__.clear()
                module.__dict__.update(attributes)
                for container, content in contents:
                    container.clear()
                    (container.extend if isinstance(container, list) else container.update)(content)


def _contents(module: nn.Module) -> list[tuple]:
    """The containers of a module, its buffers' and its own caches, with a copy of what is in them."""
    return [
        (each, copy(each))
        for each in module.__dict__.values()
        if type(each) in (dict, OrderedDict, list, set)
    ]
