"""Gate statistics against numpy."""

import numpy as np
import pytest
import torch

from mmattn.visualization.gate_statistics import NAMES, gate_stats
from tests.test_visualization.helpers import (
    naive_stats,
)


@pytest.mark.parametrize('shape', [(2, 8, 1, 1), (2, 1, 5, 7), (3, 4, 6, 1), (2, 3, 5, 4), (1, 1, 1, 1)])
@pytest.mark.parametrize('ends', [(0.0, 1.0), (0.0, 2.0), (1.0, 2.0)])
def test_numbers_are_those_of_numpy(shape, ends):
    random = np.random.default_rng(0)
    gate = random.uniform(*ends, shape).astype(np.float32)
    gate[:, 0] = ends[0]  # a closed channel, and an open one
    gate[:, -1] = ends[1]
    found = dict(zip(NAMES, gate_stats(torch.from_numpy(gate), *ends).tolist()))
    expected = naive_stats(gate, *ends)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-5), name


def test_numbers_of_gates_out_of_range_and_of_none():
    beyond = torch.tensor([[-0.1, 1.1]]).view(1, 2, 1, 1)
    found = dict(zip(NAMES, gate_stats(beyond).tolist()))
    assert found['saturation'] == 1 and found['stuck_low'] == found['stuck_high'] == 0.5
    assert found['entropy'] == pytest.approx(1)
    assert gate_stats(torch.empty(0, 4, 1, 1)).isnan().all()
    half = torch.rand(2, 64, 1, 1).half()
    torch.testing.assert_close(gate_stats(half), gate_stats(half.float()))
