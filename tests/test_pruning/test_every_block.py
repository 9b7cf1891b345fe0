"""Every block in a network that is pruned at random: forward, backward, saved, loaded, exported."""

import io
import warnings

import pytest
import torch

from mmattn.insertion.widths import set_widths
from mmattn.pruning import PruningGraph
from mmattn.pruning.target import _count, _lowest, narrowed
from tests.test_blocks.cases import all_blocks
from tests.test_blocks.test_channels import REFUSED
from tests.test_pruning.models import network

pytest.importorskip('torch_pruning')
BLOCKS = {
    name: block for name, block in all_blocks().items() if block.role != 'convolution' and name not in REFUSED
}
TIMES = 20


def pruned_at_random(model, seed):
    graph = PruningGraph(model)
    generator = torch.Generator().manual_seed(seed)
    groups = list(graph.groups())
    for group in groups:
        ratio = torch.rand((), generator=generator).item() * 0.7
        scores = torch.rand(group.channels, generator=generator)
        channels = _lowest(scores, _count(group, ratio, 1), group.sets)
        if channels:
            graph.prune(group, channels)
    return len(groups)


def is_consistent(config, seed):
    """Prune a network with the block at two sites at random; use what is left of it in every way."""
    pruned = network(config, seed=seed)
    assert pruned_at_random(pruned, seed) == 2
    assert pruned.attention['conv3'].in_channels == pruned.conv3.conv.out_channels
    assert pruned.attention['conv2'].in_channels == pruned.conv2.conv.out_channels
    images = torch.rand(2, 3, 12, 9)
    pruned.train()
    pruned(images).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in pruned.parameters())
    pruned.eval()
    file = io.BytesIO()
    torch.save(pruned.state_dict(), file)
    file.seek(0)
    whole = network(config, seed=seed + 1000)
    loaded = set_widths(whole, narrowed(pruned, network(config)))
    state = torch.load(file, weights_only=True)
    state['attention._extra_state'] = loaded.state_dict()['attention._extra_state']
    loaded.load_state_dict(state)
    with torch.no_grad():
        expected = pruned.eval()(images)
        assert loaded.eval()(images).equal(expected)
    return loaded, images, expected


def is_exported(model, images, expected):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            model, (images,), file, dynamo=False, opset_version=17, input_names=['x'], output_names=['y']
        )
    session = onnxruntime.InferenceSession(file.getvalue(), providers=['CPUExecutionProvider'])
    (found,) = session.run(None, dict(x=images.numpy()))
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-4)


def configs(subject):
    return dict(type=subject.cls, **subject.case.options)


@pytest.mark.parametrize('name', BLOCKS)
def test_pruned_once(name):
    is_exported(*is_consistent(configs(BLOCKS[name]), 0))


@pytest.mark.slow
@pytest.mark.parametrize('name', BLOCKS)
def test_pruned_at_random_many_times(name):
    for seed in range(1, TIMES):
        is_exported(*is_consistent(configs(BLOCKS[name]), seed))
