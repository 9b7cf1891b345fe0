"""The package's face: every name is there, and what hooks import stays light."""

import subprocess
import sys
from types import ModuleType

import pytest

from mmattn import cost, demo, visualization


@pytest.mark.parametrize('package', [cost, demo, visualization])
def test_every_name_is_an_object_of_the_package(package):
    for name in package.__all__:
        found = getattr(package, name)
        assert not isinstance(found, ModuleType), name
        assert not hasattr(found, '__module__') or found.__module__.startswith(package.__name__), name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mmattn.visualization' has no attribute 'missing'"):
        _ = visualization.missing


def test_hooks_import_no_detectors_api_and_nothing_that_writes_pages():
    code = (
        'import sys; from mmattn.registry import HOOKS; HOOKS.import_from_location();'
        "heavy = ['mmdet.apis', 'captum', 'mmattn.visualization.page', 'mmattn.visualization.inspector'];"
        'print([name for name in heavy if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
