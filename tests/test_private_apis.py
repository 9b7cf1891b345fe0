"""Private names of other packages: all are in one file, exist here, and may be missing without harm."""

import ast
import importlib
import inspect
import pkgutil
import runpy
import warnings
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import mmattn
from mmattn import _private_apis

ROOT = Path(__file__).parents[1]
HOME = ROOT / 'mmattn/_private_apis.py'
SOURCES = sorted(
    path
    for folder in ('mmattn', 'tools', 'benchmarks')
    for path in (ROOT / folder).rglob('*.py')
    if '.mim' not in path.parts and path != HOME
)
# Python documents these though they begin with an underscore.
PUBLIC = {'_fields', '_replace', '_asdict', '_exit'}
# Python's own: the table of the names that its packages had in Python 2, and what it calls at its end.
PYTHON = {'_compat_pickle', '_run_exitfuncs'}
# All that mmattn uses of others: a new one is added here, and there with what happens without it.
USED = {
    '_bbox_forward',
    '_bbox_post_process',
    '_channel_conversion',
    '_predict_by_feat_single',
    '_has_any_global_hook',
    '_BatchNorm',
    '_accumulative_counts',
    '_decide_current_val_interval',
    '_indices_of_rank',
    '_iterator',
    '_InstanceNorm',
    '_backward_hooks',
    '_backward_pre_hooks',
    '_current_graph_task_id',
    '_current_level',
    '_dynamo_marked_constant',
    '_forward_hooks',
    '_forward_hooks_always_called',
    '_forward_hooks_with_kwargs',
    '_forward_pre_hooks',
    '_forward_pre_hooks_with_kwargs',
    '_functorch',
    '_img_save_dir',
    '_len_torch_dispatch_stack',
    '_load_from',
    '_python_dispatch',
    '_resume',
    '_schemes',
    '_subclasses',
    '_version',
    '_C',
}
# Keys of PyTorch's state dicts and names of its children, which files on disk contain.
DATA = {'_extra_state', '_orig_mod'}


def is_private(name):
    return name.startswith('_') and not name.startswith('__') and name != '_' and not name.endswith('_')


def private_part(dotted):
    return next((part for part in dotted.split('.') if is_private(part)), None)


def own_names():
    """Private names that this project defines itself."""
    found = set()
    for path in [*SOURCES, HOME]:
        if is_private(path.stem):
            found.add(path.stem)
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                found.add(node.id if isinstance(node, ast.Name) else node.attr)
            elif isinstance(node, ast.arg):
                found.add(node.arg)
    # An attribute that we set on an object of theirs is theirs.
    theirs = {name for cls in (nn.Module, OrderedDict) for name in vars(cls())}
    return {name for name in found if is_private(name)} - theirs - {'_is_init', '_params_init_info'}


def foreign_names(tree, own):
    """Yield private names of others in a file, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own | PUBLIC:
            yield node.attr, node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if not alias.name.startswith('mmattn') and private_part(alias.name):
                    yield private_part(alias.name), node.lineno
        elif isinstance(node, ast.ImportFrom) and not (node.module or '').startswith('mmattn'):
            for name in (node.module or '', *(alias.name for alias in node.names)):
                if private_part(name):
                    yield private_part(name), node.lineno
        elif isinstance(node, ast.Call) and getattr(node.func, 'id', '') in ('getattr', 'hasattr', 'setattr'):
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ''
            if is_private(name) and name not in own | PUBLIC:
                yield name, node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ' ' not in node.value:
            part = private_part(node.value.replace(':', '.'))
            if part and node.value.startswith('torch.'):
                yield part, node.lineno


def test_no_other_file_uses_a_private_name_of_others():
    own = own_names()
    found = [
        f'{path.relative_to(ROOT)}:{line}: {name}'
        for path in SOURCES
        for name, line in foreign_names(ast.parse(path.read_text(encoding='utf-8')), own)
        if name not in DATA | PYTHON
    ]
    assert not found, 'add what is needed to mmattn/_private_apis.py, with what happens without it'


@pytest.mark.parametrize(
    'code, name',
    [
        ('torch._C.f()', '_C'),
        ('from torch._subclasses import FakeTensor', '_subclasses'),
        ('from torch.nn.modules.conv import _ConvNd', '_ConvNd'),
        ('import torch._dynamo', '_dynamo'),
        ('model._modules', '_modules'),
        ('self._is_init = True', '_is_init'),
        ("getattr(runner, '_resume')", '_resume'),
        ("resolve_name('torch._C:f')", '_C'),
    ],
)
def test_a_private_name_is_found(code, name):
    assert [found for found, _ in foreign_names(ast.parse(code), own_names())] == [name]


def test_the_file_of_private_apis_lists_those_that_are_used():
    tree = ast.parse(HOME.read_text(encoding='utf-8'))
    found = {name for name, _ in foreign_names(tree, own_names() - USED)}
    strings = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ' ' not in node.value
        for part in node.value.replace(':', '.').split('.')
        if is_private(part)
    }
    assert found | strings == USED


def classes():
    for module in pkgutil.walk_packages(mmattn.__path__, 'mmattn.'):
        if '.mim' not in module.name:
            for each in vars(importlib.import_module(module.name)).values():
                if isinstance(each, type) and each.__module__ == module.name:
                    yield each


def test_methods_that_replace_private_ones_say_so():
    """They carry ``overrides``, by which the import fails if the replaced method is no longer there."""
    unmarked = [
        f'{cls.__module__}.{cls.__name__}.{name}'
        for cls in classes()
        for name, method in vars(cls).items()
        if is_private(name) and inspect.isfunction(method) and not hasattr(method, 'overrides')
        for base in cls.__mro__[1:]
        if not base.__module__.startswith('mmattn') and name in vars(base)
    ]
    assert not unmarked


def test_a_method_that_replaces_nothing_is_an_error():
    with pytest.raises(ImportError, match=r'replaces torch\.nn\.modules\.module\.Module\._gone, which the'):

        class Block(nn.Module):
            @_private_apis.overrides(nn.Module)
            def _gone(self):
                pass


def test_all_are_there_in_this_pytorch():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = runpy.run_path(str(HOME))
    assert found['dispatch_modes']() == 0 and found['functorch_level']() is None
    assert found['forward_ad_level']() == found['backward_task']() == -1
    assert found['BatchNorm'] in nn.BatchNorm2d.__mro__ and found['InstanceNorm'] in nn.InstanceNorm2d.__mro__
    with found['FakeTensorMode']():
        assert isinstance(torch.zeros(1), found['FakeTensor'])


def test_dynamo_reads_the_mark_of_constant_results():
    def theirs():
        pass

    def ours():
        pass

    torch.compiler.assume_constant_result(theirs)
    assert vars(_private_apis.assume_constant_result(ours)) == vars(theirs)


@pytest.fixture
def without(monkeypatch):
    """The file as it is where PyTorch lacks some names."""

    def load(*missing):
        def resolve_name(name):
            if name.rpartition(':')[2] in missing:
                raise AttributeError(name)
            return real(name)

        real = pkgutil.resolve_name
        monkeypatch.setattr(pkgutil, 'resolve_name', resolve_name)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            found = runpy.run_path(str(HOME))
        return SimpleNamespace(**found), [str(each.message) for each in caught]

    return load


@pytest.mark.parametrize(
    'missing', ['_len_torch_dispatch_stack', '_functorch.peek_interpreter_stack', '_current_level']
)
def test_without_a_view_of_who_watches_attention_is_computed_plainly(without, monkeypatch, missing):
    from mmattn.ops import dispatch, tensors

    if missing == '_current_level':
        monkeypatch.delattr(torch.autograd.forward_ad, missing)
    apis, said = without(missing)
    for name in ('dispatch_modes', 'functorch_level', 'forward_ad_level'):
        monkeypatch.setattr(tensors, name, getattr(apis, name))
    assert dispatch.backend_for(torch.rand(1, 4, 5, 6)) == 'plain'
    (text,) = said
    assert f'has no torch.{"_C" if missing[1] != "c" else "autograd"}' in text
    assert 'computes attention in plain PyTorch, more slowly' in text


def test_without_the_number_of_the_backward_pass_that_is_said(without):
    apis, said = without('_current_graph_task_id')
    assert apis.backward_task() == -1
    assert 'record_gates() records a block twice' in said[0]


def test_without_fake_tensors_what_needs_them_says_so(without):
    apis, said = without('FakeTensorMode', 'FakeTensor')
    assert not said and not isinstance(torch.zeros(1), apis.FakeTensor)
    with pytest.raises(
        RuntimeError, match='a run without data, .*, needs FakeTensorMode, which PyTorch .* lacks'
    ):
        apis.FakeTensorMode(allow_non_fake_inputs=True)


def test_without_dispatch_modes_counting_says_so(without):
    apis, _ = without('TorchDispatchMode')

    class Count(apis.TorchDispatchMode):
        pass

    with pytest.raises(RuntimeError, match='the count of operations needs TorchDispatchMode'):
        Count()


def test_without_an_exception_of_fake_tensors_nothing_is_caught(without):
    apis, said = without('DataDependentOutputException')
    assert 'a block of your own that depends on the values of its map is refused' in said[0]
    with pytest.raises(ZeroDivisionError):
        try:
            raise ZeroDivisionError
        except apis.NEEDS_DATA:
            pass


def test_without_the_base_classes_of_norms_pytorchs_own_are_known(without):
    apis, said = without('_BatchNorm', '_InstanceNorm')
    assert isinstance(nn.SyncBatchNorm(3), apis.BatchNorm) and isinstance(
        nn.InstanceNorm2d(3), apis.InstanceNorm
    )
    assert len(said) == 2


def test_hooks_kept_elsewhere_are_an_error():
    with pytest.raises(RuntimeError, match=r'needs object\._forward_hooks to find its blocks') as no:
        _private_apis.forward_hooks(type('object', (), {})())
    assert 'install the versions of PyTorch and MMEngine that docs/install.md names' in str(no.value)


def test_hooks_that_are_not_there_are_an_error():
    module = nn.ReLU()
    del module._backward_hooks
    with pytest.raises(RuntimeError, match='needs ReLU._backward_hooks to see whether it is hooked'):
        _private_apis.has_hooks(module)


@pytest.mark.parametrize(
    'register', ['forward_hook', 'forward_pre_hook', 'full_backward_hook', 'full_backward_pre_hook']
)
def test_a_module_says_whether_it_is_hooked(register):
    module = nn.ReLU()
    assert not _private_apis.has_hooks(module)
    getattr(module, f'register_{register}')(lambda *args: None)
    assert _private_apis.has_hooks(module)


def test_hooks_are_removed_with_their_options():
    class Ours:
        def __call__(self, *args):
            pass

    module, kept = nn.ReLU(), lambda *args: None
    module.register_forward_hook(kept)
    module.register_forward_hook(Ours(), always_call=True)
    module.register_forward_hook(Ours(), with_kwargs=True)
    module.register_forward_pre_hook(Ours(), with_kwargs=True)
    _private_apis.remove_hooks(module, Ours)
    left = {name: list(value.values()) for name, value in vars(module).items() if 'hooks' in name and value}
    assert left == {'_forward_hooks': [kept]}


@pytest.mark.parametrize(
    'runner, resuming',
    [
        (dict(_resume=True, cfg={}), True),
        (dict(_resume=False, cfg=dict(resume=True)), False),
        (dict(cfg=dict(resume=True)), True),
        (dict(cfg={}), False),
    ],
)
def test_a_runner_says_whether_it_resumes(runner, resuming):
    assert _private_apis.is_resuming(SimpleNamespace(**runner)) is resuming


@pytest.mark.parametrize('runner', [dict(_load_from='a.pth', cfg={}), dict(cfg=dict(load_from='a.pth'))])
def test_a_runner_says_what_it_loads(runner):
    assert _private_apis.load_from(SimpleNamespace(**runner)) == 'a.pth'


def test_loaders_kept_elsewhere_are_an_error_not_unguarded(monkeypatch):
    monkeypatch.delattr('mmengine.runner.CheckpointLoader._schemes')
    with pytest.raises(RuntimeError, match='CheckpointLoader._schemes to guard how checkpoints are loaded'):
        _private_apis.checkpoint_schemes()


def test_a_loop_without_intervals_that_change_keeps_its_own():
    called = []
    _private_apis.decide_val_interval(SimpleNamespace(_decide_current_val_interval=lambda: called.append(1)))
    _private_apis.decide_val_interval(SimpleNamespace(val_interval=3))
    assert called == [1]


def test_counts_of_gradients_kept_elsewhere_are_an_error():
    from mmengine.optim import OptimWrapper

    wrapper = OptimWrapper(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), accumulative_counts=3)
    assert _private_apis.accumulated_gradients(wrapper) == 3
    with pytest.raises(RuntimeError, match='SimpleNamespace._accumulative_counts to save between two steps'):
        _private_apis.accumulated_gradients(SimpleNamespace())


def test_a_data_loader_takes_another_batch_sampler():
    loader = torch.utils.data.DataLoader([1, 2, 3], batch_size=1)
    with pytest.raises(ValueError, match='batch_sampler attribute should not be set'):
        loader.batch_sampler = [[2]]
    _private_apis.replace_batch_sampler(loader, [[2], [0]])
    assert [batch.item() for batch in loader] == [3, 1]
    assert '_iterator' in vars(loader)


@pytest.mark.parametrize('older', [False, True])
def test_an_endless_sampler_starts_anew(older, monkeypatch):
    from mmengine.dataset import InfiniteSampler

    if older:
        monkeypatch.delattr(InfiniteSampler, 'skip', raising=False)
    sampler = InfiniteSampler(range(5), seed=1)
    first = [index for index, _ in zip(sampler, range(7))]
    assert [index for index, _ in zip(sampler, range(7))] != first
    _private_apis.restart_sampler(sampler)
    assert [index for index, _ in zip(sampler, range(7))] == first
    _private_apis.restart_sampler(object())  # nothing to do
