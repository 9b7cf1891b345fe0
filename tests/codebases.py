"""Other OpenMMLab codebases, where they are installed."""

import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from unittest.mock import MagicMock

import pytest

_TORCHVISION = ('', '.ops', '.ops.boxes', '.transforms', '.transforms.functional', '.transforms.transforms')
PARTS = ('models', 'datasets', 'engine', 'evaluation', 'visualization', 'registry')


@contextmanager
def without_torchvision():
    """Let MMPretrain and its kin be imported without torchvision, of which no backbone needs anything."""
    stubs = {} if find_spec('torchvision') else {f'torchvision{each}': None for each in _TORCHVISION}
    for each in stubs:
        stubs[each] = sys.modules[each] = MagicMock(name=each, __path__=[], __spec__=None)
    if stubs:
        stubs['torchvision'].transforms = stubs['torchvision.transforms']
        stubs['torchvision.transforms'].RandomResizedCrop = type('RandomResizedCrop', (), {})  # a base class
    try:
        yield
    finally:
        for each in stubs:
            del sys.modules[each]


def import_codebase(name):
    """Import a codebase with all that is looked up in it by name later, also without torchvision."""
    with without_torchvision():
        for part in PARTS:
            if find_spec(f'{name}.{part}'):
                import_module(f'{name}.{part}')
        return import_module(name)


def codebase(name):
    """Import a codebase or a module of it, or skip the test."""
    package = name.partition('.')[0]
    if not find_spec(package):
        pytest.skip(f'{package} is not installed')
    import_codebase(package)
    return import_module(name)
