"""The custom operators of ``torch.library``, by PyTorch's own checks."""

import pytest
import torch

from mmattn.ops.autograd import operators_missing_reason
from tests.test_ops.oracle import leaves

OPERATORS = ['pool', 'enter', 'stats', 'apply_gates', 'gates_backward', 'stats_backward', 'map_backward']


def arguments(name, how, layout):
    assert not operators_missing_reason()  # registers them
    x, g, s = leaves((2, 3, 4, 5), torch.float32, layout)
    dy, dstats = torch.randn_like(x), torch.randn(2, 2, 4, 5)
    plain = [t.detach() for t in (x, g, s)]
    stats, count = torch.ops.mmattn.stats(*plain[:2], None, None, None, None, how)
    avg, top, number = torch.ops.mmattn.pool(plain[0], True, how)
    return dict(
        pool=(plain[0], True, how),
        enter=(x, 'avg max', how),
        stats=(x, g, None, None, None, None, how),
        apply_gates=(x, g, s, None, None, None, how),
        gates_backward=(plain[0], dy, *plain[1:], how),
        stats_backward=(*plain[:2], dstats, stats, count, how),
        map_backward=(plain[0], dy, *plain[1:], avg, avg, top, number, dstats, stats, count, how),
    )[name]


@pytest.mark.parametrize(
    'how, layout',
    [('aten', 'nchw'), ('aten', 'nhwc'), ('cpu', 'nchw'), ('triton', 'nchw'), ('triton', 'nhwc')],
)
@pytest.mark.parametrize('name', OPERATORS)
def test_schema_shapes_and_registration(name, how, layout):
    from mmattn.ops.dispatch import missing_reason

    if missing_reason(how):
        pytest.skip(missing_reason(how))
    # Gradients go to relays, which stand for the map, so that PyTorch's comparison of gradients would not
    # understand; test_compiled_into_one_graph compares them.
    torch.library.opcheck(
        getattr(torch.ops.mmattn, name).default,
        arguments(name, how, layout),
        test_utils=('test_schema', 'test_autograd_registration', 'test_faketensor'),
    )
