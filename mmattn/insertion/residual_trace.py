"""Find residual blocks by what their forward pass does: it adds the output of a child to its own input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmattn._private_apis import writes_in_place

_ADDITIONS = ('add', 'add_', '__add__', '__iadd__', '__radd__')


@dataclass(frozen=True, eq=False)
class _Value:
    """Where a tensor comes from, as seen by the module that computes it.

    Attributes:
        sources: What it was computed from; nothing for the module's own input and for what is not known.
        child: The child that computed it, if one did.
        is_sum: It is the sum of its two sources.
        shape: Its shape.
    """

    sources: tuple[_Value, ...] = ()
    child: nn.Module | None = None
    is_sum: bool = False
    shape: tuple[int, ...] = ()


_INPUT = _Value()


@dataclass
class _Call:
    """A running call of a module."""

    values: dict[int, _Value] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)  # alive, so that no two have the same id
    writes: dict[int, int] = field(default_factory=dict)
    children: list[nn.Module] = field(default_factory=list)

    def note(self, tensor: Any, value: _Value) -> None:
        if isinstance(tensor, Tensor):
            self.tensors.append(tensor)
            self.values[id(tensor)] = value

    def value(self, tensor: Any) -> _Value:
        return self.values.get(id(tensor), _Value())


class ResidualTrace(TorchFunctionMode):
    """Watches a model run in eval mode, and finds the child that ends each residual branch.

    A residual block is a module that returns ``branch + identity``, or that under layers without parameters,
    such as ReLU. ``branch`` is the output of a child, and ``identity`` the module's input or what another
    child makes of it. A child that returns its input itself, as drop path does in eval mode, is looked
    through; it ends the branch only where no child made that input.

    Attributes:
        ends: The child that ends the branch, by ``id`` of the residual block.
    """

    def __init__(self):
        super().__init__()
        self.ends: dict[int, nn.Module] = {}
        self._calls = [_Call()]

    def before(self, module: nn.Module, args: tuple) -> None:
        """Forward pre-hook of all modules."""
        call = _Call()
        for each in args:
            call.note(each, _INPUT)
        call.writes = {id(each): writes_in_place(each) for each in _tensors(args)}
        self._calls.append(call)

    def after(self, module: nn.Module, args: tuple, output: Any) -> None:
        """Forward hook of all modules, also if their forward pass failed."""
        call, parent = self._calls.pop(), self._calls[-1]
        end = _end_of_branch(call, output)
        if end is not None:
            self.ends[id(module)] = end
        parent.children.append(module)
        if not isinstance(output, Tensor):
            return
        value = parent.value(output)
        is_passed = call.writes.get(id(output)) == writes_in_place(output)
        if is_passed and (value is _INPUT or value.child is not None):
            return
        sources = value.sources if is_passed else tuple(map(parent.value, _tensors(args)))
        parent.note(output, _Value(sources, module, shape=tuple(output.shape)))

    def __torch_function__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        if isinstance(output, Tensor):
            call = self._calls[-1]
            sources = tuple(map(call.value, _tensors(args)))
            is_sum = len(sources) == 2 and not kwargs and getattr(function, '__name__', '') in _ADDITIONS
            call.note(output, _Value(sources, is_sum=is_sum))
        return output


def _end_of_branch(call: _Call, output: Any) -> nn.Module | None:
    """Return the child that ends the branch if ``output`` is that of a residual block."""
    value = call.value(output)
    while not value.is_sum and len(value.sources) == 1 and not _has_parameters(value.child):
        value = value.sources[0]
    if not value.is_sum or output.dim() != 4:
        return None
    for branch, identity in (value.sources, value.sources[::-1]):
        is_own = identity is _INPUT or identity.child is not None and identity.sources == (_INPUT,)
        is_deeper = identity is _INPUT or branch.sources != (_INPUT,)
        once = call.children.count(branch.child) == 1
        if once and is_own and is_deeper and branch.shape == tuple(output.shape):
            return branch.child
    return None


def _tensors(args: tuple) -> list[Tensor]:
    return [each for each in args if isinstance(each, Tensor)]


def _has_parameters(module: nn.Module | None) -> bool:
    return module is not None and next(module.parameters(), None) is not None
