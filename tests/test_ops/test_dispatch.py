"""Which backend computes, how it is told, and what happens where one is missing."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmattn import ops
from mmattn.blocks import CBAM, ECA, SE, SpatialAttention
from mmattn.ops import dispatch, once
from mmattn.ops.backends import triton
from mmattn.ops.dispatch import backend_for
from tests.test_blocks.helpers import randomise, smooth_map


@pytest.fixture
def map_of():
    def make(dtype=torch.float32, shape=(2, 8, 5, 4)):
        return smooth_map(*shape, dtype=dtype)

    return make


def test_auto_on_a_cpu(map_of):
    with ops.backend('auto'):
        compiled = 'aten' if dispatch.missing_reason('cpu') else 'cpu'
        assert backend_for(map_of()) == compiled
        assert backend_for(map_of().to(memory_format=torch.channels_last)) == 'aten'
        assert backend_for(map_of(torch.bfloat16)) == compiled
        assert backend_for(map_of(torch.float16)) == 'aten'
        assert backend_for(map_of(torch.float64)) == 'aten'
        strided = map_of().flip(3).transpose(1, 3)
        assert backend_for(strided) == 'plain'
        assert backend_for(map_of()[:0]) == 'plain'
        assert backend_for(map_of()[0]) == 'plain'


def test_the_last_context_counts_and_is_left(map_of):
    x, before = map_of(), dispatch.chosen()
    with ops.backend('plain'):
        with ops.backend('aten'):
            assert backend_for(x) == 'aten'
        assert backend_for(x) == 'plain'
        with pytest.raises(KeyError), ops.backend('aten'):
            raise KeyError
        assert backend_for(x) == 'plain'
    assert dispatch.chosen() == before


@pytest.mark.parametrize('name, shown', [('plain', 'plain'), ('', 'auto'), ('aten', 'aten')])
def test_the_environment_variable_chooses(monkeypatch, name, shown):
    monkeypatch.setenv('MMATTN_OPS', name)
    assert dispatch.chosen() == shown
    with ops.backend('auto'):
        assert dispatch.chosen() == 'auto'


def test_an_unknown_backend_is_refused(monkeypatch, map_of):
    possible = "possible: 'auto', 'plain', 'aten', 'cpu', 'triton'"
    with pytest.raises(ValueError, match=f"backend: 'cuda'; {possible}"), ops.backend('cuda'):
        pass
    monkeypatch.setenv('MMATTN_OPS', 'fast')
    with pytest.raises(ValueError, match=f"MMATTN_OPS='fast'; {possible}"):
        SE(8)(map_of())


def test_asking_for_what_is_missing(monkeypatch):
    monkeypatch.setattr(triton, '_given_up', 'Triton failed in pool: no such thing')
    with (
        pytest.raises(RuntimeError, match="backend 'triton' cannot be used: Triton failed in pool"),
        ops.backend('triton'),
    ):
        pass


def test_a_backward_pass_goes_the_way_of_its_forward_pass(map_of):
    x = map_of().requires_grad_()
    block = randomise(CBAM(8))
    with ops.backend('aten'):
        out = block(x)
    with ops.backend('plain'):
        (g,) = torch.autograd.grad(out.square().sum(), x)
    assert g.abs().sum() > 0


def test_triton_that_fails_is_reported_once_and_replaced(monkeypatch, map_of, warnings):
    """As where there is no C compiler for its launcher, or a card that it does not know."""
    monkeypatch.setattr(triton, '_given_up', '')
    monkeypatch.setattr(triton, 'is_interpreted', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(once, '_warned', set())

    def fails(*args):
        raise OSError('Failed to find C compiler')

    for name in ('pool', 'stats', 'apply_gates', 'gates_backward', 'stats_backward', 'map_backward'):
        monkeypatch.setattr(triton, name, fails)
    block, x = randomise(CBAM(8)), map_of().requires_grad_()
    with ops.backend('plain'):
        (expected,) = torch.autograd.grad(block(x).square().sum(), x)
    monkeypatch.setattr(dispatch, '_chosen', 'triton')
    for _ in range(2):
        torch.testing.assert_close(torch.autograd.grad(block(x).square().sum(), x)[0], expected)
    told = [text for text in warnings if 'Triton' in text]
    assert len(told) == 1
    assert (
        'attention is computed in plain PyTorch, more slowly: Triton failed in pool: OSError: Failed'
        in told[0]
    )
    assert 'Failed to find C compiler' in dispatch.missing_reason('triton')


def test_a_lack_of_memory_is_no_failure_of_triton(monkeypatch, map_of):
    monkeypatch.setattr(triton, 'is_interpreted', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)

    def fails(*args):
        raise torch.OutOfMemoryError('out of memory')

    monkeypatch.setattr(triton, 'pool', fails)
    with ops.backend('triton'), pytest.raises(torch.OutOfMemoryError):
        dispatch.run('pool', 'triton', map_of(), True)
    assert not triton.missing_reason()


def run(code, **env):
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env={**os.environ, **env}
    )


SMALL = (
    'import torch; from mmattn import ops; from mmattn.ops.dispatch import *; '
    'from mmattn.blocks import CBAM; x = torch.rand(2, 8, 5, 4); '
)


def test_a_block_on_a_cpu_imports_no_triton_and_registers_no_operator():
    done = run(
        SMALL + 'import mmattn, sys; CBAM(8)(x.requires_grad_()).sum().backward(); '
        'print("triton" in sys.modules, '
        '[n for n in torch._C._dispatch_get_all_op_names() if n.startswith("mmattn::")])'
    )
    assert done.stdout == 'False []\n', done.stderr


def test_without_triton_blocks_run_and_the_reason_is_given():
    done = run(
        'import sys; sys.modules["triton"] = None; ' + SMALL + 'print(missing_reason("triton")); CBAM(8)(x)'
    )
    assert done.stdout.startswith('Triton cannot be imported: '), done.stderr


def test_who_looks_at_single_operations_sees_pytorchs(map_of):
    class Count(TorchDispatchMode):
        seen = ()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen += (str(func),)
            return func(*args, **kwargs or {})

    with ops.backend('auto'), Count() as count:
        SE(8)(map_of())
    assert any('aten.mean' in name for name in count.seen)
    assert any('aten.mul' in name for name in count.seen)


ONE_GRAPH = [(CBAM, 'aten'), (CBAM, 'cpu'), (CBAM, 'triton'), (SE, 'aten'), (SpatialAttention, 'aten')]
# The graph holds the same operators, whoever computes them; ECA's are SE's.
ALIKE = [
    (block, backend)
    for block in (SE, ECA, SpatialAttention)
    for backend in ('aten', 'cpu', 'triton')
    if (block, backend) not in ONE_GRAPH
]


@pytest.mark.parametrize(
    'block, backend',
    [*ONE_GRAPH, *(pytest.param(block, backend, marks=pytest.mark.slow) for block, backend in ALIKE)],
)
def test_compiled_into_one_graph(block, backend):
    if dispatch.missing_reason(backend):
        pytest.skip(dispatch.missing_reason(backend))
    torch._dynamo.reset()
    seen = []

    def compiler(graph, inputs):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        from torch._dynamo.backends.debugging import aot_eager

        return aot_eager(graph, inputs)

    one, other = randomise(block(8)), randomise(block(8))
    compiled = torch.compile(other, fullgraph=True, backend=compiler)
    for shape in ((2, 8, 5, 4), (3, 8, 6, 2)):
        x, y = (smooth_map(*shape, dtype=torch.float32).requires_grad_() for _ in range(2))
        with ops.backend(backend):
            one.zero_grad(), other.zero_grad()
            out, got = one(x), compiled(y)
            torch.testing.assert_close(got, out)
            out.square().sum().backward()
            got.square().sum().backward()
        torch.testing.assert_close(y.grad, x.grad, rtol=1e-4, atol=1e-5)
        for p, q in zip(one.parameters(), other.parameters()):
            torch.testing.assert_close(q.grad, p.grad, rtol=1e-4, atol=1e-4)
    assert any('mmattn' in name for name in seen), seen
    seen.clear()
    with ops.backend('plain'):
        torch.testing.assert_close(compiled(x), one(x))
    assert seen and not any('mmattn' in name for name in seen), seen


@pytest.mark.parametrize('backend', ['auto', 'aten', 'triton'])
@pytest.mark.parametrize('block, part', [(SE, 'relu'), (SpatialAttention, 'spatial')])
def test_a_break_of_the_graph_within_a_block(block, part, backend, map_of):
    """Gradients that are not there become zeros between two graphs, as where DDP splits one."""
    torch._dynamo.reset()
    module = randomise(block(8)).eval()
    with ops.backend('plain'):
        x = map_of().requires_grad_()
        (expected,) = torch.autograd.grad(module(x).square().sum(), x)
    getattr(module, part).register_forward_hook(lambda *args: torch._dynamo.graph_break())
    with ops.backend(backend):
        compiled = torch.compile(module, backend='aot_eager')
        torch.testing.assert_close(torch.autograd.grad(compiled(x).square().sum(), x)[0], expected)


@pytest.mark.parametrize('backend', ['aten', 'triton'])
def test_exported_by_a_faster_backend_where_it_is_asked_for(backend, map_of):
    block = randomise(CBAM(8)).eval()
    sizes = {0: torch.export.Dim('n', min=1, max=64), 2: torch.export.Dim('h', min=2, max=64)}
    with ops.backend(backend), torch.no_grad():
        program = torch.export.export(block, (map_of(),), dynamic_shapes=(sizes,))
        assert any('mmattn' in str(node.target) for node in program.graph.nodes)
        x = map_of(shape=(3, 8, 9, 4))
        torch.testing.assert_close(program.module()(x), block(x))


def test_a_deepcopy_and_pickle_know_nothing_of_it(map_of):
    block = randomise(CBAM(8)).eval()
    block(map_of())
    torch.testing.assert_close(copy.deepcopy(block)(map_of()), block(map_of()))


def test_without_custom_operators_a_graph_captures_the_definitions():
    """As a PyTorch that cannot register ours: eager mode needs none, and a graph captures the definitions."""
    done = run("""
import torch
from mmattn import ops
from mmattn.blocks import CBAM

custom_op = torch.library.custom_op

def without_ours(name, *args, **kwargs):  # PyTorch registers its own by it
    if isinstance(name, str) and name.startswith('mmattn::'):
        raise AttributeError("module 'torch.library' has no attribute 'custom_op'")
    return custom_op(name, *args, **kwargs)

torch.library.custom_op = without_ours
x, block = torch.rand(2, 8, 5, 4, requires_grad=True), CBAM(8).eval()
block(x).sum().backward()
with ops.backend('aten'):
    for _ in range(2):
        torch._dynamo.reset()
        y = torch.compile(block, fullgraph=True, backend=lambda graph, inputs: graph)(x)
print(torch.allclose(y, block(x)))
""")
    assert done.stdout.endswith('True\n'), done.stderr
    told = 'attention is captured in plain PyTorch: torch.library of PyTorch'
    assert (done.stdout + done.stderr).count(told) == 1


def test_why_a_backend_does_not_compute_a_map(map_of):
    assert dispatch.reason_not('plain', map_of()) == dispatch.reason_not('aten', map_of()) == ''
    assert 'not a dense map' in dispatch.reason_not('aten', map_of()[0])
    if not dispatch.missing_reason('cpu'):
        assert 'float32 and bfloat16 in NCHW' in dispatch.reason_not('cpu', map_of(torch.float16))


def test_only_the_dispatcher_imports_backends():
    root = Path(dispatch.__file__).parents[1]
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob('*.py')
        if 'ops/backends/' not in path.as_posix()
        and re.search(r'ops\.backends(\.(aten|cpu|triton)\b| import)', path.read_text(encoding='utf-8'))
    }
    assert found == {'ops/dispatch.py'}
