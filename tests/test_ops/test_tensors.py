"""How the dispatcher sees that a map is captured, also where PyTorch does not say so."""

import runpy

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch._subclasses.functional_tensor import FunctionalTensor, FunctionalTensorMode

from mmattn.ops import tensors


def test_maps_of_tracers_are_in_a_graph_though_nothing_compiles():
    """Before PyTorch 2.7, a backward pass is captured on functional tensors while is_compiling() is false."""
    x = torch.rand(1, 2, 3, 4)
    assert not tensors.in_graph(x)
    with FakeTensorMode():
        assert tensors.in_graph(torch.rand(1, 2, 3, 4))
    with FunctionalTensorMode():
        assert tensors.in_graph(FunctionalTensor.to_functional(x))


def test_where_pytorch_cannot_tell_exporting_it_counts_as_compiling(monkeypatch):
    assert tensors.is_exporting is getattr(torch.compiler, 'is_exporting', tensors.is_exporting)
    monkeypatch.delattr(torch.compiler, 'is_exporting', raising=False)
    assert runpy.run_path(tensors.__file__)['is_exporting']() is False
