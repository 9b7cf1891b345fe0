"""Every backend has the functions of the protocol, with its arguments."""

import inspect

import pytest

from mmattn.ops import dispatch
from mmattn.ops.backends.base import Backend, TailBackend


def functions_of(protocol):
    return {
        name: f for name, f in vars(protocol).items() if inspect.isfunction(f) and not name.startswith('_')
    }


FUNCTIONS = functions_of(Backend)


@pytest.mark.parametrize('name', ['aten', 'cpu', 'triton'])
def test_backends_have_the_signatures_of_the_protocol(name):
    module = dispatch._module(name)
    assert isinstance(module, Backend)
    assert set(FUNCTIONS) >= {
        'pool', 'stats', 'apply_gates', 'gates_backward', 'stats_backward', 'map_backward', 'missing_reason'
    }  # fmt: skip
    require_signatures(module, FUNCTIONS)


@pytest.mark.parametrize('name', list(dispatch._TAIL_MODULES))
def test_tails_have_the_signatures_of_the_protocol(name):
    module, functions = dispatch._tail_module(name), functions_of(TailBackend)
    assert isinstance(module, TailBackend)
    assert set(functions) == {
        'norm_affine', 'pool', 'stats', 'tail', 'backward', 'stats_backward', 'map_backward'
    }  # fmt: skip
    require_signatures(module, functions)


def require_signatures(module, functions):
    for each, function in functions.items():
        own, promised = (inspect.signature(f) for f in (getattr(module, each), function))
        assert list(own.parameters) == list(promised.parameters)[1:], each
        assert own.return_annotation == promised.return_annotation, each
        for parameter in own.parameters.values():
            assert parameter.annotation == promised.parameters[parameter.name].annotation, each
