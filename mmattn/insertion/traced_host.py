"""A residual block of any class, with a block on the child that ends its branch.

The child may be a norm, which SyncBN conversion and conv-bn fusion replace by another module: then the hook
moves on to what stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mmattn._private_apis import forward_hooks, remove_hooks
from mmattn.insertion.mixed_class import is_mixed, mixed_class, reduce_mixed

_SUFFIX = 'WithAttention'
_STATE = '_mmattn_end'
"""Name of the host's attribute that holds its child's name and the child's hook."""


class TracedHost:
    """Mixin of a residual block with attention; :func:`put_hook` combines it with the block's class."""

    def forward(self, *args, **kwargs):
        _follow_end(self)
        return super().forward(*args, **kwargs)

    def train(self, mode: bool = True):
        _follow_end(self)  # before torch.compile, which cannot register a hook
        return super().train(mode)

    def __reduce_ex__(self, protocol):
        return reduce_mixed(self, _SUFFIX)


def _follow_end(host: nn.Module) -> None:
    name, hook = host.__dict__[_STATE]
    end = host.get_submodule(name)
    if not any(each is hook for each in forward_hooks(end).values()):
        end.register_forward_hook(hook)


def put_hook(host: nn.Module, end: str, hook: Callable) -> None:
    """Let ``hook`` change the output of the child ``end`` of ``host``, also if that child is replaced."""
    host.__dict__[_STATE] = end, hook
    host.__class__ = mixed_class(TracedHost, type(host), _SUFFIX)
    _follow_end(host)


def take_hook(host: nn.Module) -> None:
    """Undo :func:`put_hook`."""
    end, hook = host.__dict__.pop(_STATE)
    remove_hooks(host.get_submodule(end), type(hook))
    host.__class__ = type(host).__bases__[1]


def is_traced_host(module: nn.Module) -> bool:
    """True if ``module`` has such a hook, and is still of the class that it got with it."""
    return is_mixed(module, TracedHost)


def was_traced_host(module: nn.Module) -> bool:
    """True if ``module`` has such a hook, whatever its class is now."""
    return _STATE in module.__dict__
