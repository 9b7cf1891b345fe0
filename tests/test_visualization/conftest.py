"""An image for the tests of visualization."""

import numpy as np
import pytest


@pytest.fixture
def wide(mmdet_scope):
    return np.random.default_rng(0).integers(0, 255, (50, 120, 3), dtype=np.uint8)
