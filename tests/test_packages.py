"""What is said where a package is missing."""

import pytest

from mmattn.packages import require_packages


def test_a_missing_package_is_named_with_the_remedy():
    require_packages('deploy', 'torch')
    with pytest.raises(ModuleNotFoundError, match=r'no_such is needed.*pip install "mmattn\[deploy\]"'):
        require_packages('deploy', 'torch', 'no_such')
