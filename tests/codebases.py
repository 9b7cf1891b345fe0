"""Other OpenMMLab codebases, where they are installed."""

import sys
from importlib.util import find_spec
from unittest.mock import MagicMock

import pytest

_TORCHVISION = ('', '.ops', '.ops.boxes', '.transforms', '.transforms.functional', '.transforms.transforms')


def codebase(name):
    """Import MMPretrain or its kin, also without torchvision, of which no backbone needs anything."""
    stubs = {} if find_spec('torchvision') else {f'torchvision{each}': None for each in _TORCHVISION}
    for each in stubs:
        sys.modules[each] = MagicMock(name=each, __path__=[], __spec__=None)
    try:
        return pytest.importorskip(name, reason=f'{name} is not installed')
    finally:
        for each in stubs:
            del sys.modules[each]
