"""The custom operators of ``torch.library``, by PyTorch's own checks."""

import pytest
import torch

from mmattn.ops.autograd import operators_missing_reason
from tests.test_ops.oracle import leaves

OPERATORS = ['pool', 'enter', 'stats', 'apply_gates', 'gates_backward', 'stats_backward', 'map_backward']


def arguments(name, backend, layout):
    assert not operators_missing_reason()  # registers them
    x, channel, spatial = leaves((2, 3, 4, 5), torch.float32, layout)
    dy, dstats = torch.randn_like(x), torch.randn(2, 2, 4, 5)
    plain = [t.detach() for t in (x, channel, spatial)]
    stats, stats_ties = torch.ops.mmattn.stats(*plain[:2], None, None, None, None, backend)
    avg, amax, pool_ties = torch.ops.mmattn.pool(plain[0], True, backend)
    return dict(
        pool=(plain[0], True, backend),
        enter=(x, 'avg max', backend),
        stats=(x, channel, None, None, None, None, backend),
        apply_gates=(x, channel, spatial, None, None, None, backend),
        gates_backward=(plain[0], dy, *plain[1:], backend),
        stats_backward=(*plain[:2], dstats, stats, stats_ties, backend),
        map_backward=(
            plain[0],
            dy,
            *plain[1:],
            avg,
            avg,
            amax,
            pool_ties,
            dstats,
            stats,
            stats_ties,
            backend,
        ),
    )[name]


@pytest.mark.parametrize(
    'backend, layout',
    [('aten', 'nchw'), ('aten', 'nhwc'), ('cpu', 'nchw'), ('triton', 'nchw'), ('triton', 'nhwc')],
)
@pytest.mark.parametrize('name', OPERATORS)
def test_schema_shapes_and_registration(name, backend, layout):
    from mmattn.ops.dispatch import missing_reason

    if missing_reason(backend):
        pytest.skip(missing_reason(backend))
    # Gradients go to placeholders, which stand for the map: PyTorch's comparison of gradients would not
    # understand that; test_compiled_into_one_graph compares them.
    given = arguments(name, backend, layout)
    torch.library.opcheck(
        getattr(torch.ops.mmattn, name).default,
        given,
        test_utils=('test_schema', 'test_autograd_registration', 'test_faketensor'),
    )
