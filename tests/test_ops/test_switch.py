"""Which way is taken, how it is told, and what happens where one is missing."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmattn import ops
from mmattn.blocks import CBAM, ECA, SE, SpatialAttention
from mmattn.ops import passes, switch, triton_passes
from mmattn.ops.switch import implementation_for
from tests.test_blocks.helpers import randomise, smooth_map


@pytest.fixture
def map_of():
    def make(dtype=torch.float32, shape=(2, 8, 5, 4)):
        return smooth_map(*shape, dtype=dtype)

    return make


def test_auto_on_a_cpu(map_of):
    with ops.implementation('auto'):
        compiled = 'aten' if switch.missing_reason('compiled') else 'compiled'
        assert implementation_for(map_of()) == compiled
        assert implementation_for(map_of().to(memory_format=torch.channels_last)) == 'aten'
        assert implementation_for(map_of(torch.bfloat16)) == compiled
        assert implementation_for(map_of(torch.float16)) == 'aten'
        assert implementation_for(map_of(torch.float64)) == 'aten'
        strided = map_of().flip(3).transpose(1, 3)
        assert implementation_for(strided) == 'plain'
        assert implementation_for(map_of()[:0]) == 'plain'
        assert implementation_for(map_of()[0]) == 'plain'


def test_the_last_context_counts_and_is_left(map_of):
    x, before = map_of(), switch.chosen()
    with ops.implementation('plain'):
        with ops.implementation('aten'):
            assert implementation_for(x) == 'aten'
        assert implementation_for(x) == 'plain'
        with pytest.raises(KeyError), ops.implementation('aten'):
            raise KeyError
        assert implementation_for(x) == 'plain'
    assert switch.chosen() == before


@pytest.mark.parametrize('name, shown', [('plain', 'plain'), ('', 'auto'), ('aten', 'aten')])
def test_the_environment_variable(monkeypatch, name, shown):
    monkeypatch.setenv('MMATTN_OPS', name)
    assert switch.chosen() == shown
    with ops.implementation('auto'):
        assert switch.chosen() == 'auto'


def test_wrong_names(monkeypatch, map_of):
    possible = "possible: 'auto', 'plain', 'aten', 'compiled', 'triton'"
    with pytest.raises(ValueError, match=f"implementation: 'cuda'; {possible}"), ops.implementation('cuda'):
        pass
    monkeypatch.setenv('MMATTN_OPS', 'fast')
    with pytest.raises(ValueError, match=f"MMATTN_OPS='fast'; {possible}"):
        SE(8)(map_of())


def test_asking_for_what_is_missing(monkeypatch):
    monkeypatch.setattr(triton_passes, '_given_up', 'Triton failed in pool: no such thing')
    with (
        pytest.raises(RuntimeError, match="implementation 'triton' cannot be used: Triton failed in pool"),
        ops.implementation('triton'),
    ):
        pass


def test_a_backward_pass_goes_the_way_of_its_forward_pass(map_of):
    x = map_of().requires_grad_()
    block = randomise(CBAM(8))
    with ops.implementation('aten'):
        out = block(x)
    with ops.implementation('plain'):
        (g,) = torch.autograd.grad(out.square().sum(), x)
    assert g.abs().sum() > 0


def test_triton_that_fails_is_told_once_and_replaced(monkeypatch, map_of, warnings):
    """As where there is no C compiler for its launcher, or a card that it does not know."""
    monkeypatch.setattr(triton_passes, '_given_up', '')
    monkeypatch.setattr(triton_passes, 'is_interpreted', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(switch, '_told', set())

    def fails(*args):
        raise OSError('Failed to find C compiler')

    for name in ('pool', 'stats', 'gate', 'gate_backward', 'stats_backward', 'map_backward'):
        monkeypatch.setattr(triton_passes, name, fails)
    block, x = randomise(CBAM(8)), map_of().requires_grad_()
    with ops.implementation('plain'):
        (expected,) = torch.autograd.grad(block(x).square().sum(), x)
    monkeypatch.setattr(switch, '_chosen', 'triton')
    for _ in range(2):
        torch.testing.assert_close(torch.autograd.grad(block(x).square().sum(), x)[0], expected)
    told = [text for text in warnings if 'Triton' in text]
    assert len(told) == 1
    assert (
        'attention is computed in plain PyTorch, more slowly: Triton failed in pool: OSError: Failed'
        in told[0]
    )
    assert 'Failed to find C compiler' in switch.missing_reason('triton')


def test_a_lack_of_memory_is_no_failure_of_triton(monkeypatch, map_of):
    monkeypatch.setattr(triton_passes, 'is_interpreted', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)

    def fails(*args):
        raise torch.OutOfMemoryError('out of memory')

    monkeypatch.setattr(triton_passes, 'pool', fails)
    with ops.implementation('triton'), pytest.raises(torch.OutOfMemoryError):
        passes.run('pool', map_of(), True, 'triton')
    assert not triton_passes.missing_reason()


def run(code, **env):
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env={**os.environ, **env}
    )


SMALL = (
    'import torch; from mmattn import ops; from mmattn.ops.switch import *; from mmattn.blocks import CBAM; '
    'x = torch.rand(2, 8, 5, 4); '
)


def test_without_a_compiler(tmp_path):
    done = run(
        SMALL + 'print(implementation_for(x), missing_reason("compiled")); CBAM(8)(x)',
        PATH='/nonexistent',
        CC='',
        MMATTN_CACHE=str(tmp_path),
    )
    assert done.stdout == 'aten no C compiler was found ($CC, cc, gcc)\n', done.stderr


def test_with_a_compiler_that_fails(tmp_path):
    compiler = tmp_path / 'cc'
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo "no such flag" >&2; exit 1; }\n')
    compiler.chmod(0o755)
    done = run(
        SMALL + 'print(implementation_for(x), missing_reason("compiled")); CBAM(8)(x)',
        CC=str(compiler),
        MMATTN_CACHE=str(tmp_path / 'cache'),
    )
    assert done.stdout.startswith('aten ') and 'or it cannot be loaded: no such flag' in done.stdout, (
        done.stderr
    )


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / 'file').touch()
    done = run(
        SMALL + 'print(implementation_for(x)); CBAM(8)(x)', MMATTN_CACHE=str(tmp_path / 'file' / 'cache')
    )
    assert done.stdout == 'aten\n', done.stderr


@pytest.mark.parametrize('compiler', ['gcc "', '/nonexistent/cc'])
def test_a_compiler_that_is_none(tmp_path, compiler):
    done = run(SMALL + 'CBAM(8)(x); print(implementation_for(x))', CC=compiler, MMATTN_CACHE=str(tmp_path))
    assert done.stdout == 'aten\n', done.stderr


def test_what_was_compiled_is_kept(tmp_path):
    if switch.missing_reason('compiled'):
        pytest.skip(switch.missing_reason('compiled'))
    for _ in range(2):
        done = run(SMALL + 'print(implementation_for(x))', MMATTN_CACHE=str(tmp_path))
        assert done.stdout == 'compiled\n', done.stderr
        files = [(path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir()]
        assert len(files) == 1
    assert files[0][0].startswith('cpu_passes-')


def test_triton_is_not_imported_on_a_cpu():
    done = run(SMALL + 'CBAM(8)(x); import sys; print("triton" in sys.modules)')
    assert done.stdout == 'False\n', done.stderr


def test_without_triton():
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

    with ops.implementation('auto'), Count() as count:
        SE(8)(map_of())
    assert any('aten.mean' in name for name in count.seen)
    assert any('aten.mul' in name for name in count.seen)


@pytest.mark.parametrize('way', ['aten', 'compiled', 'triton'])
@pytest.mark.parametrize('block', [SE, ECA, SpatialAttention, CBAM])
def test_compiled_into_one_graph(block, way):
    if switch.missing_reason(way):
        pytest.skip(switch.missing_reason(way))
    torch._dynamo.reset()
    seen = []

    def backend(graph, inputs):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        from torch._dynamo.backends.debugging import aot_eager

        return aot_eager(graph, inputs)

    one, other = randomise(block(8)), randomise(block(8))
    compiled = torch.compile(other, fullgraph=True, backend=backend)
    for shape in ((2, 8, 5, 4), (3, 8, 6, 2)):
        x, y = (smooth_map(*shape, dtype=torch.float32).requires_grad_() for _ in range(2))
        with ops.implementation(way):
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
    with ops.implementation('plain'):
        torch.testing.assert_close(compiled(x), one(x))
    assert seen and not any('mmattn' in name for name in seen), seen


@pytest.mark.parametrize('way', ['auto', 'aten', 'triton'])
@pytest.mark.parametrize('block, part', [(SE, 'relu'), (SpatialAttention, 'spatial')])
def test_a_break_of_the_graph_within_a_block(block, part, way, map_of):
    """Gradients that are not there become zeros between two graphs, as where DDP splits one."""
    torch._dynamo.reset()
    module = randomise(block(8)).eval()
    with ops.implementation('plain'):
        x = map_of().requires_grad_()
        (expected,) = torch.autograd.grad(module(x).square().sum(), x)
    getattr(module, part).register_forward_hook(lambda *args: torch._dynamo.graph_break())
    with ops.implementation(way):
        compiled = torch.compile(module, backend='aot_eager')
        torch.testing.assert_close(torch.autograd.grad(compiled(x).square().sum(), x)[0], expected)


@pytest.mark.parametrize('way', ['aten', 'triton'])
def test_exported_with_the_faster_passes_where_they_are_asked_for(way, map_of):
    block = randomise(CBAM(8)).eval()
    sizes = {0: torch.export.Dim('n', min=1, max=64), 2: torch.export.Dim('h', min=2, max=64)}
    with ops.implementation(way), torch.no_grad():
        program = torch.export.export(block, (map_of(),), dynamic_shapes=(sizes,))
        assert any('mmattn' in str(node.target) for node in program.graph.nodes)
        x = map_of(shape=(3, 8, 9, 4))
        torch.testing.assert_close(program.module()(x), block(x))


def test_a_deepcopy_and_pickle_know_nothing_of_it(map_of):
    block = randomise(CBAM(8)).eval()
    block(map_of())
    torch.testing.assert_close(copy.deepcopy(block)(map_of()), block(map_of()))
