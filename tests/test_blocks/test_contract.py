"""The contract of all blocks in the registry, so that no new block is left out."""

import copy
import inspect

import pytest
import torch
from mmengine.model import BaseModule

from mmattn.blocks import AttentionBlock
from tests.test_blocks.cases import all_blocks
from tests.test_blocks.helpers import randomise, smooth_map

BLOCKS = all_blocks()


def every(*roles):
    """Parametrize a test with all blocks, or with those of the given roles."""
    names = [name for name, block in BLOCKS.items() if not roles or block.role in roles]
    return pytest.mark.parametrize('subject', [BLOCKS[name] for name in names], ids=names)


PAPERS = ('https://arxiv.org/abs/', 'https://proceedings.mlr.press/')
SHAPES = [(2, 32, 9, 5), (1, 32, 1, 1), (2, 32, 1, 7), (0, 32, 4, 4), (1, 32, 13, 8)]


def a_map(subject, *shape, dtype=torch.float64):
    return smooth_map(*subject.shape(*shape), dtype=dtype)


def grads(block, x, run=None):
    block.zero_grad()
    out = (block if run is None else run)(x)
    (out * smooth_map(*out.shape, dtype=out.dtype, seed=3)).sum().backward()
    return {name: p.grad for name, p in block.named_parameters()}


@every()
def test_can_be_built(subject):
    assert subject.problem is None, (
        f'{subject.name}(32) cannot be built: {subject.problem!r}; tests/test_blocks/cases.py must give '
        'its options without a default'
    )
    missing = [option for option in subject.own_options() if option not in subject.case.values]
    assert not missing, (
        f'{subject.name} has options that no test varies: {", ".join(missing)}; add values to '
        f'tests/test_blocks/cases.py: {subject.name}=Case(values=dict({missing[0]}=[...]))'
    )


@every()
def test_the_signature_begins_with_in_channels_and_has_start(subject):
    parameters = inspect.signature(subject.cls).parameters
    assert next(iter(parameters)) == 'in_channels', 'the first argument must be in_channels'
    assert 'start' in parameters and parameters['start'].default == 'paper', (
        "it must have an option start='paper'"
    )
    assert issubclass(subject.cls, AttentionBlock), 'it must be a subclass of mmattn.blocks.AttentionBlock'
    assert isinstance(getattr(subject.cls, '_abbr_', None), str), (
        "it must have _abbr_, its name in MMDetection's plugins="
    )


@every('gate', 'additive')
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_identity_is_exact(subject, shape, training, dtype):
    block = subject(32, start='identity').train(training)
    x = a_map(subject, *shape, dtype=dtype)
    out = block(x)
    assert out.dtype == dtype and out.equal(x)


@every('gate', 'additive')
def test_identity_reaches_every_parameter_after_one_step(subject):
    torch.manual_seed(0)
    block = subject(128, start='identity')  # wide enough for some hidden units to be open
    x = a_map(subject, 4, 128, 9, 5, dtype=torch.float32)
    assert any(g.abs().sum() > 0 for g in grads(block, x).values())
    optimizer = torch.optim.SGD(block.parameters(), lr=1e-3)
    optimizer.step()
    still = [name for name, g in grads(block, x).items() if not g.abs().sum() > 0]
    assert not [name for name in still if not name.endswith(subject.case.without_effect or '?')]


@every('gate')
@pytest.mark.parametrize('start', ['paper', 'identity'])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_forward_multiplies_by_the_gates(subject, shape, start):
    block = randomise(subject(32, start=start)).eval()
    x = a_map(subject, *shape, dtype=torch.float32)
    expected = x
    for name, gate in block.gates(x).items():
        n, c, h, w = x.shape
        groups = gate.shape[1]
        sizes = {
            'channel': (n, c, 1, 1),
            'spatial': (n, 1, h, w),
            'height': (n, c, h, 1),
            'width': (n, c, 1, w),
            'frame': (n, 1, 1, 1),
            'group': (n, groups, h, w),
            'element': (n, c, h, w),
        }
        assert gate.shape == sizes[name]
        assert ((gate >= 0) & (gate <= block.ceiling)).all()
        expected = expected * (gate.repeat_interleave(c // groups, 1) if name == 'group' else gate)
    torch.testing.assert_close(block(x), expected)


@every()
def test_gradients_agree_with_finite_differences(subject):
    block = randomise(subject(5)).double()
    x = a_map(subject, 2, 5, 3, 4).requires_grad_()
    names = [name for name, _ in block.named_parameters()]

    def f(x, *parameters):
        return torch.func.functional_call(block, dict(zip(names, parameters)), (x,))

    assert torch.autograd.gradcheck(f, (x, *block.parameters()))


@every()
@pytest.mark.parametrize('start', ['paper', 'identity'])
def test_a_parents_init_does_not_change_the_start(subject, start):
    """FPN's Xavier and ResNet's Kaiming init: the parent's init_cfg, then the children's init_weights."""

    class Parent(BaseModule):
        def __init__(self):
            super().__init__(
                init_cfg=[
                    dict(type='Constant', layer=['Conv1d', 'Conv2d', 'Linear'], val=0.7, bias=0.3),
                    dict(type='Constant', layer='_BatchNorm', val=0.9),
                ]
            )
            self.block = subject(32, start=start)

    torch.manual_seed(0)
    parent = Parent()
    before = copy.deepcopy(parent.block.state_dict())
    another = subject(32, start=start).state_dict()
    parent.init_weights()
    for name, value in parent.block.state_dict().items():
        if another[name].equal(before[name]):  # a constant, such as a zero bias
            assert value.equal(before[name]), name
        elif value.numel() < 10:  # too few values to estimate a distribution
            assert not torch.isin(value, torch.tensor([0.7, 0.3, 0.9])).any(), name
        else:  # drawn again from the same distribution
            assert value.unique().numel() > 1, name
            assert 0.3 < value.std() / before[name].std() < 3 and value.mean().abs() < 0.5, name
    if start == 'identity' and subject.role != 'convolution':
        x = torch.randn(subject.shape(2, 32, 5, 5))
        assert parent.block(x).equal(x)


@every('gate', 'additive')
def test_autocast_matches_fp32(subject):
    block = randomise(subject(32)).eval()
    x = a_map(subject, 2, 32, 9, 5, dtype=torch.float32)
    expected = block(x)
    with torch.autocast('cpu', torch.bfloat16):
        # The gates are computed in fp32, so autocast changes nothing for an fp32 map.
        assert block(x).equal(expected)
        half = block(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.02, atol=0.02)


@every('gate', 'additive')
def test_large_fp16_values_do_not_overflow(subject):
    block = subject(32)
    # The product must be within the range of fp16, too.
    large = torch.full(subject.shape(2, 32, 64, 64), 6e4 / block.ceiling, dtype=torch.float16)
    mixed = torch.where(torch.arange(64) % 3 == 0, -large, large)
    for x in (large, mixed):
        with torch.autocast('cpu', torch.float16):
            out = block.train()(x.requires_grad_())
        assert torch.isfinite(out).all()
        out.float().mean().backward()
        assert all(torch.isfinite(t.grad).all() for t in (x, *block.parameters()))


@every()
def test_memory_format_and_strides(subject):
    block = randomise(subject(32)).eval()
    x = a_map(subject, 2, 32, 9, 6, dtype=torch.float32)
    expected = block(x)
    out = block(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, expected)
    strided = torch.stack([x, x], -1)[..., 0]
    assert not strided.is_contiguous()
    torch.testing.assert_close(block(strided), expected)


@every()
def test_input_is_not_modified(subject):
    x = a_map(subject, 2, 32, 9, 6, dtype=torch.float32)
    before = x.clone()
    subject(32)(x)
    assert x.equal(before)


@every()
def test_deepcopy_is_independent(subject):
    block = randomise(subject(32)).eval()
    x = a_map(subject, 2, 32, 9, 6, dtype=torch.float32)
    expected = block(x)
    other = copy.deepcopy(block)
    randomise(block, seed=5)
    assert other(x).equal(expected)
    if block.state_dict():
        assert not block(x).equal(expected)


@every()
@pytest.mark.parametrize(
    'kwargs, text',
    [
        (dict(start='random'), r"start='random'; possible: 'paper', 'identity'"),
        (dict(in_channels=0), 'in_channels=0; it must be a positive integer'),
        (dict(init_cfg=dict(type='Xavier')), "say start='paper' or start='identity' instead"),
    ],
)
def test_bad_values_are_refused(subject, kwargs, text):
    with pytest.raises(ValueError, match=text):
        subject(**{'in_channels': 32, **kwargs})


@every()
def test_docstring_names_paper_and_official_code(subject):
    doc = subject.cls.__doc__ or ''
    assert any(paper in doc for paper in PAPERS), f'its docstring must link to the paper: {PAPERS}'
    for needed in ('fficial code', 'Args:', 'Shape:', 'Example:', 'Differences'):
        assert needed in doc, f'its docstring must have {needed!r}'


@every()
@pytest.mark.parametrize('start', ['paper', 'identity'])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_trains_on_any_map(subject, shape, start):
    """All values are finite, on a map of zeros too, and no gradient is missing (DDP would hang)."""
    block = subject(32, start=start).train()
    for x in (a_map(subject, *shape, dtype=torch.float32), torch.zeros(subject.shape(*shape))):
        out = block(x.requires_grad_())
        out.sum().backward()
        assert out.shape == x.shape and torch.isfinite(out).all() and torch.isfinite(x.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in block.parameters())
        assert all(torch.isfinite(b).all() for b in block.buffers())


@every()
def test_is_deterministic(subject):
    block = randomise(subject(32)).train()
    state = copy.deepcopy(block.state_dict())
    x = torch.relu(a_map(subject, 2, 32, 9, 6, dtype=torch.float32)).requires_grad_()  # with equal maxima
    torch.use_deterministic_algorithms(True)
    try:
        results = []
        for _ in range(2):
            block.load_state_dict(state)
            x.grad = None
            results.append([*grads(block, x).values(), x.grad])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(one.equal(two) for one, two in zip(*results))


@every()
def test_compiles_without_graph_breaks(subject):
    torch._dynamo.reset()
    block = randomise(subject(32)).eval()
    compiled = torch.compile(block, fullgraph=True, backend='aot_eager')
    for shape in ((2, 32, 9, 6), (1, 32, 5, 12)):
        x = a_map(subject, *shape, dtype=torch.float32)
        torch.testing.assert_close(compiled(x), block(x))
        with torch.autocast('cpu', torch.bfloat16):
            torch.testing.assert_close(compiled(x.bfloat16()), block(x.bfloat16()))


@every()
def test_trains_compiled(subject):
    """Compiled with its backward pass, a block gives the same output, gradients and statistics."""
    torch._dynamo.reset()
    plain = randomise(subject(32)).train()
    compiled = torch.compile(copy.deepcopy(plain), fullgraph=True, backend='aot_eager')
    for shape in ((2, 32, 9, 6), (3, 32, 5, 12)):
        x, y = (a_map(subject, *shape, dtype=torch.float32).requires_grad_() for _ in range(2))
        expected, got = grads(plain, x), grads(compiled._orig_mod, y, compiled)
        torch.testing.assert_close(y.grad, x.grad, rtol=1e-4, atol=1e-5)
        for name in expected:
            torch.testing.assert_close(got[name], expected[name], rtol=1e-4, atol=1e-4, msg=name)
        for one, other in zip(compiled._orig_mod.buffers(), plain.buffers()):
            torch.testing.assert_close(one, other)


@every()
def test_exports_with_dynamic_sizes(subject):
    block = randomise(subject(32)).eval()
    dim = torch.export.Dim
    sizes = {
        0: subject.case.frames * dim('n', min=1, max=64),
        2: dim('h', min=1, max=512),
        3: dim('w', min=1, max=512),
    }
    program = torch.export.export(
        block, (a_map(subject, 2, 32, 9, 6, dtype=torch.float32),), dynamic_shapes=(sizes,)
    )
    for shape in ((2, 32, 9, 6), (3, 32, 21, 4)):
        x = a_map(subject, *shape, dtype=torch.float32)
        torch.testing.assert_close(program.module()(x), block(x))


@every()
def test_runs_as_onnx_on_other_sizes(subject, tmp_path):
    for module in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(module, reason=f'{module} is not installed')
    import onnxruntime

    block = randomise(subject(32)).eval()
    dim = torch.export.Dim
    file = tmp_path / 'block.onnx'
    torch.onnx.export(
        block,
        (a_map(subject, 2, 32, 9, 6, dtype=torch.float32),),
        file,
        verbose=False,
        input_names=['x'],
        dynamo=True,
        opset_version=18,
        dynamic_shapes=(
            {0: subject.case.frames * dim('n', max=64), 2: dim('h', max=512), 3: dim('w', max=512)},
        ),
    )
    session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
    for shape in ((2, 32, 9, 6), (3, 32, 21, 4), (1, 32, 1, 5)):
        x = a_map(subject, *shape, dtype=torch.float32)
        (got,) = session.run(None, {'x': x.numpy()})
        torch.testing.assert_close(torch.from_numpy(got), block(x).detach(), rtol=1e-4, atol=1e-5)
