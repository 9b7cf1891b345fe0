"""The private APIs of PyTorch and MMEngine that mmattn needs, and what happens where one is missing.

No other file uses a private name of theirs; ``tests/test_private_apis.py`` holds that. None of these has a
public equivalent in all versions of PyTorch from 2.4.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any, TypeVar

import torch
from torch import nn

F = TypeVar('F', bound=Callable)
_REMEDY = 'install the versions of PyTorch and MMEngine that docs/install.md names'


def _found(name: str, otherwise: Any, consequence: str = '') -> Any:
    """Return the object at ``name``; if PyTorch has none, warn of the consequence and return ``otherwise``.

    Args:
        name: ``'module:attribute'``.
        otherwise: What to use instead.
        consequence: What the user should know; empty if ``otherwise`` raises an error when it is used.
    """
    try:
        return resolve_name(name)
    except (ImportError, AttributeError):
        if consequence:
            warnings.warn(
                f'PyTorch {torch.__version__} has no {name.replace(":", ".")}: {consequence}', stacklevel=2
            )
        return otherwise


def _unusable(name: str, purpose: str) -> type:
    """Return a class that says, when it is used, that PyTorch lacks what it stands for."""

    class Unusable:
        def __init__(self, *args: Any, **kwargs: Any):
            raise RuntimeError(f'{purpose} needs {name}, which PyTorch {torch.__version__} lacks; {_REMEDY}')

    return Unusable


class _NeverRaised(Exception):
    """Stands for an exception that PyTorch lacks."""


# Whether something intercepts operations: then it must see plain ATen operations.
_PLAIN = 'mmattn cannot tell who watches operations, and computes attention in plain PyTorch, more slowly'
dispatch_modes: Callable[[], int] = _found('torch._C:_len_torch_dispatch_stack', lambda: 1, _PLAIN)
functorch_level: Callable[[], Any] = _found(
    'torch._C:_functorch.peek_interpreter_stack', lambda: True, _PLAIN
)
_found('torch.autograd.forward_ad:_current_level', None, _PLAIN)
_forward_ad = torch.autograd.forward_ad


def forward_ad_level() -> int:
    """Return the level of forward-mode differentiation; -1 outside."""
    return getattr(_forward_ad, '_current_level', 0)


backward_task: Callable[[], int] = _found(
    'torch._C:_current_graph_task_id',
    lambda: -1,
    'record_gates() records a block twice if activation checkpointing runs it again in the backward pass',
)
"""Return the number of the backward pass that is running; -1 outside."""

# Fake tensors have shapes but no data. Blocks are checked, sites found and costs counted with them.
_FAKE = 'torch._subclasses.fake_tensor:{}'
FakeTensor: type = _found(_FAKE.format('FakeTensor'), type('NoFakeTensor', (), {}))
# Stands for a map where PyTorch before 2.7 captures a backward pass, without saying that it compiles.
FunctionalTensor: type = _found(
    'torch._subclasses.functional_tensor:FunctionalTensor', type('NoFunctionalTensor', (), {})
)
FakeTensorMode: type = _found(
    _FAKE.format('FakeTensorMode'),
    _unusable('FakeTensorMode', 'a run without data, which finds sites and costs,'),
)
NEEDS_DATA: tuple[type[Exception], ...] = tuple(
    _found(
        _FAKE.format(name),
        _NeverRaised,
        'a block of your own that depends on the values of its map is refused',
    )
    for name in (
        'DataDependentOutputException',
        'DynamicOutputShapeException',
        'UnsupportedFakeTensorException',
        'UnsupportedOperatorException',
    )
)
"""What a module that depends on the values of its input raises on fake tensors."""

TorchDispatchMode: type = _found(
    'torch.utils._python_dispatch:TorchDispatchMode',
    _unusable('TorchDispatchMode', 'the count of operations'),
)

# The base classes of norms. MMEngine derives one of its own from the first.
_OWN_NORMS = "norms that derive from PyTorch's base classes alone are taken for other layers"
BatchNorm: Any = _found(
    'torch.nn.modules.batchnorm:_BatchNorm',
    (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    _OWN_NORMS,
)
InstanceNorm: Any = _found(
    'torch.nn.modules.instancenorm:_InstanceNorm',
    (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    _OWN_NORMS,
)


def assume_constant_result(function: F) -> F:
    """Mark a function that ``torch.compile`` calls while it traces, instead of tracing into it.

    ``torch.compiler.assume_constant_result`` does the same, but takes half a second to import. If a later
    Dynamo reads another mark, it breaks the graph of a block here.
    """
    function._dynamo_marked_constant = True
    return function


def forward_hooks(module: nn.Module) -> dict[int, Callable]:
    """Return the forward hooks of a module, by key."""
    return _attribute(module, '_forward_hooks', 'to find its blocks')


def forward_pre_hooks(module: nn.Module) -> dict[int, Callable]:
    """Return the forward pre-hooks of a module, by key."""
    return _attribute(module, '_forward_pre_hooks', 'to find its blocks')


def writes_in_place(tensor: torch.Tensor) -> int:
    """Return how often the values of a tensor have been changed in place."""
    try:
        return tensor._version
    except AttributeError as error:
        raise _missing(torch.Tensor, '_version', 'to follow a map through a residual block') from error


def has_hooks(module: nn.Module) -> bool:
    """Return True if something is to be called before or after the module, forward or backward."""
    try:  # the quickest way, as each forward pass of CBAM asks
        return bool(
            module._forward_hooks
            or module._forward_pre_hooks
            or module._backward_hooks
            or module._backward_pre_hooks
        )
    except AttributeError as error:
        raise _missing(type(module), error.name or 'hooks', 'to see whether it is hooked') from error


has_global_hooks: Callable[[], Any] = _found(
    'torch.nn.modules.module:_has_any_global_hook',
    lambda: True,
    'residual blocks with attention are computed step by step, more slowly',
)
"""Return something true if something is to be called before or after every module."""


def remove_hooks(module: nn.Module, classes: type | tuple[type, ...]) -> None:
    """Remove all forward hooks and pre-hooks of these classes.

    The handles that PyTorch returned cannot do that: those of a copied or unpickled model do not exist.
    """
    for hooks in (forward_hooks(module), forward_pre_hooks(module)):
        for key in [key for key, hook in hooks.items() if isinstance(hook, classes)]:
            del hooks[key]
            for name in _HOOK_OPTIONS:
                vars(module).get(name, {}).pop(key, None)


_HOOK_OPTIONS = (
    '_forward_hooks_with_kwargs',
    '_forward_hooks_always_called',
    '_forward_pre_hooks_with_kwargs',
)


def _attribute(owner: Any, name: str, purpose: str) -> Any:
    try:
        return vars(owner)[name]
    except KeyError:
        raise _missing(owner if isinstance(owner, type) else type(owner), name, purpose) from None


def _missing(cls: type, name: str, purpose: str) -> RuntimeError:
    return RuntimeError(f'mmattn needs {cls.__name__}.{name} {purpose}, which does not exist here; {_REMEDY}')


def overrides(base: type) -> Callable[[F], F]:
    """Mark a method that replaces a private one of ``base``; without that, it would never be called.

    Raises:
        ImportError: ``base`` has no such method.
    """

    def check(method: F) -> F:
        name = f'{base.__module__}.{base.__qualname__}.{method.__name__}'
        if not hasattr(base, method.__name__):
            raise ImportError(f'mmattn replaces {name}, which the installed version lacks; {_REMEDY}')
        method.overrides = base
        return method

    return check


def is_resuming(runner: Any) -> bool:
    """Return True if MMEngine's runner resumes a run rather than load weights only."""
    return bool(runner._resume if hasattr(runner, '_resume') else runner.cfg.get('resume'))


def decide_val_interval(loop: Any) -> None:
    """Let MMEngine's training loop choose the interval of evaluations, which may change during training."""
    if hasattr(loop, '_decide_current_val_interval'):  # else it is what it was at the start
        loop._decide_current_val_interval()


def accumulated_gradients(wrapper: Any) -> int:
    """Return of how many iterations MMEngine's optimizer wrapper adds up the gradients."""
    return _attribute(wrapper, '_accumulative_counts', 'to save between two steps of the optimizer')


def replace_batch_sampler(loader: Any, batch_sampler: Any) -> None:
    """Give a data loader another batch sampler, which it refuses by itself; it then starts anew."""
    object.__setattr__(loader, 'batch_sampler', batch_sampler)
    loader._iterator = None  # persistent workers; where PyTorch keeps them elsewhere, they have not started


def restart_sampler(sampler: Any) -> None:
    """Let MMEngine's ``InfiniteSampler`` start anew; any other sampler does so by itself."""
    if hasattr(sampler, 'skip'):
        sampler.skip(0)
    elif hasattr(sampler, '_indices_of_rank') and hasattr(sampler, 'indices'):  # MMEngine before 0.10.12
        sampler.indices = sampler._indices_of_rank()


def load_from(runner: Any) -> str | None:
    """Return the checkpoint that MMEngine's runner loads before it starts."""
    return runner._load_from if hasattr(runner, '_load_from') else runner.cfg.get('load_from')


def checkpoint_schemes() -> dict[str, Callable]:
    """Return a copy of MMEngine's loaders of checkpoints, by the prefix of their addresses."""
    from mmengine.runner import CheckpointLoader

    return dict(_attribute(CheckpointLoader, '_schemes', 'to guard how checkpoints are loaded'))


def image_folder(backend: Any) -> str:
    """Return the folder in which MMEngine's ``LocalVisBackend`` saves images."""
    return _attribute(backend, '_img_save_dir', 'to draw images')


PREDICTION_STEPS = ('_predict_by_feat_single', '_bbox_post_process')
"""Methods of MMDetection's dense heads that an exported graph expresses; the first, of heads of boxes too."""
ROI_STEPS = ('_bbox_forward',)
"""That of its RoI head. A head that lacks one is not exported."""


def swaps_channels(preprocessor: nn.Module) -> bool:
    """Return True if a data preprocessor of MMEngine turns BGR into RGB, or back."""
    try:
        return bool(preprocessor._channel_conversion)
    except AttributeError as error:
        raise _missing(
            type(preprocessor), '_channel_conversion', 'to export what it does to images'
        ) from error
