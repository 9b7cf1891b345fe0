"""Frozen stages that are computed again: the same gradients bit for bit, and little kept.

The oracle is MMDetection's own stage, which keeps everything: ``recompute=False``.
"""

import copy
import pickle

import pytest
import torch
from mmdet.models import ResNet
from mmengine.model import MMDistributedDataParallel
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from torch import nn

from mmattn import attach, detach, ops
from mmattn.insertion import log
from mmattn.insertion.recompute import RecomputedStage
from mmattn.visualization import record_gates
from tests.test_blocks.helpers import randomise
from tests.test_insertion.models import build, model_cfg, narrow
from tests.test_insertion.test_clips import build_video, clips
from tests.test_insertion.test_clips import rule as temporal_rule

ALL = 'layer[1-4].*.residual'


def rules(block='mmattn.CBAM', at=ALL, **options):
    return [dict(at=at, block=dict(type=block, reduction=2), **options)]


def backbone(insert=None, depth=18, recompute=None, freeze_detector=False, **options):
    """A narrow ResNet whose first stage is frozen, and whose attention does something."""
    torch.manual_seed(0)
    options = {'frozen_stages': 1, 'norm_eval': True, 'base_channels': 8, 'stem_channels': 8, **options}
    model = ResNet(depth, **options)
    attach(model, rules() if insert is None else insert, freeze_detector, recompute)
    randomise(model.attention)
    return model.train()


def image(model, size=(48, 64)):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    return x.to(next(model.parameters()).dtype)


def gradients(model, forward=None):
    model.zero_grad()
    maps = (model if forward is None else forward)(image(model))
    sum(each.float().square().mean() for each in maps).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_bits(model, plain, forward=None):
    found, expected = gradients(model, forward), gradients(plain)
    assert found.keys() == expected.keys() and len(found) > 20
    assert any(name.startswith('attention.layer1') and grad.any() for name, grad in expected.items())
    assert all(found[name].equal(grad) for name, grad in expected.items())
    for (name, mine), theirs in zip(model.named_buffers(), plain.buffers()):
        assert mine.equal(theirs), name


def runs(model, path='layer1.0'):
    """How often a residual block runs in a training step."""
    calls = []
    handle = model.get_submodule(path).conv1.register_forward_hook(lambda *_: calls.append(1))
    maps = model(image(model))
    if maps[-1].requires_grad:
        sum(each.mean() for each in maps).backward()
    handle.remove()
    return len(calls)


# --- numbers


@pytest.mark.parametrize('block', ['mmattn.SE', 'mmattn.CBAM'])
@pytest.mark.parametrize(
    'dtype, options',
    [
        (torch.float32, dict()),
        (torch.float64, dict(norm_eval=False)),
        (torch.float32, dict(depth=50, frozen_stages=2)),
    ],
    ids=str,
)
def test_gradients_and_statistics_are_those_of_the_stage_that_keeps_all(block, dtype, options):
    made = [backbone(rules(block), recompute=each, **options).to(dtype) for each in (None, False)]
    assert isinstance(made[0].layer1, RecomputedStage) and not isinstance(made[1].layer1, RecomputedStage)
    for _ in range(2):
        assert_same_bits(*made)


def test_statistics_of_norms_that_still_train_see_a_batch_once():
    """A stage frozen by its parameters alone, whose norms use the batch."""
    made = [backbone(recompute=each, frozen_stages=-1, norm_eval=False) for each in (None, False)]
    for model in made:
        for part in (model.conv1, model.bn1, model.layer1):
            part.requires_grad_(False)
        model.train()
    assert runs(made[0]) == 2 and runs(made[1]) == 1
    assert_same_bits(*made)
    assert made[0].layer1[0].bn1.num_batches_tracked == 2


def test_autocast():
    made = [backbone(recompute=each) for each in (None, False)]

    def forward(model):
        with torch.autocast('cpu', torch.bfloat16):
            return model(image(model))

    found, expected = ({**gradients(each, lambda _, each=each: forward(each))} for each in made)
    assert all(found[name].equal(grad) for name, grad in expected.items())
    assert found['attention.layer1_0_residual.ChannelGate.mlp.3.bias'].any()


def test_a_graph_that_is_kept_gives_the_same_gradients_again():
    model = backbone()
    loss = sum(each.mean() for each in model(image(model)))
    parameters = list(model.attention.parameters())
    first, second = (torch.autograd.grad(loss, parameters, retain_graph=True) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, second))


class Noisy(nn.Module):
    """A backbone with dropout in its frozen stage."""

    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Dropout(0.5), nn.Conv2d(8, 8, 1)
        )
        self.layer2 = nn.Conv2d(8, 8, 1)
        self.layer1.requires_grad_(False)

    def forward(self, x):
        return (self.layer2(self.layer1(x)),)


def test_dropout_draws_the_same_twice_and_leaves_the_random_state_alone():
    found = []
    for recompute in (None, False):
        torch.manual_seed(0)
        model = attach(Noisy(), rules('mmattn.SE', at='layer1.1'), recompute=recompute)
        randomise(model.attention)
        found.append(([*gradients(model.train()).values()], torch.rand(3)))
    assert type(model.layer1) is nn.Sequential
    assert all(a.equal(b) for a, b in zip(*(grads for grads, _ in found)))
    assert found[0][1].equal(found[1][1])


# --- memory


@pytest.mark.parametrize('block', ['mmattn.SE', 'mmattn.ECA', 'mmattn.CBAM'])
def test_at_most_1_35_of_the_plain_activations_are_kept(block):
    options = dict(depth=50, base_channels=16, stem_channels=16)
    plain = ResNet(frozen_stages=1, **options)
    plain.train()
    plain = kept_bytes(plain)
    insert = [dict(at=ALL, block=dict(type=block))]
    kept = [kept_bytes(backbone(insert, recompute=each, **options)) for each in (None, False)]
    assert kept[0] < 1.35 * plain < kept[1]


# --- when


def test_a_stage_is_computed_again_only_where_it_would_be_kept():
    model = backbone()
    assert runs(model) == 2
    assert runs(model, 'layer2.0') == 1  # it trains
    with torch.no_grad():
        assert runs(model) == 1
    model.eval()
    assert runs(model) == 1
    model.train()
    model.layer1.requires_grad_(True)
    assert runs(model) == 1
    model.layer1.requires_grad_(False)
    assert runs(model) == 2
    model.attention.requires_grad_(False)
    assert runs(model) == 1


def test_attention_that_is_frozen_with_its_stage_or_stands_behind_it_changes_nothing():
    for insert in (rules(freeze_with_host=True), rules(at='layer1'), rules(at='layer[2-4].*.residual')):
        model = backbone(insert)
        assert runs(model) == 1 and not isinstance(model.layer1, RecomputedStage)


@pytest.mark.parametrize('at', ['layer1.*.residual', 'layer1', 'relu'])
def test_a_frozen_stage_behind_attention_is_computed_again(at):
    model = backbone(rules(at=at), frozen_stages=2)
    plain = backbone(rules(at=at), frozen_stages=2, recompute=False)
    assert runs(model, 'layer2.1') == 2 and runs(plain, 'layer2.1') == 1
    assert runs(model) == (1 if at == 'layer1' else 2)


def test_a_stage_that_is_frozen_after_attach_is_found_when_training_starts():
    model = backbone(frozen_stages=-1)
    assert type(model.layer1).__name__ == 'ResLayer'
    for part in (model.conv1, model.bn1, model.layer1):
        part.requires_grad_(False)
    assert runs(model.train()) == 2


def test_what_is_checkpointed_already_is_not_computed_a_third_time():
    assert runs(backbone(with_cp=True), 'layer1.1') == 2
    model = backbone()
    turn_on_activation_checkpointing(model, ['layer1.1'])
    assert runs(model, 'layer1.0') == 1 and runs(model, 'layer1.1') == 2


def test_freeze_detector_computes_again_only_if_asked_to():
    assert runs(backbone(freeze_detector=True), 'layer3.0') == 1
    model = backbone(freeze_detector=True, recompute=True)
    assert runs(model, 'layer1.0') == runs(model, 'layer4.0') == 2
    assert runs(backbone(freeze_detector=True, recompute=False, frozen_stages=-1)) == 1


@pytest.mark.parametrize('recompute', ['yes', 1, 'layer1'])
def test_a_wrong_option_is_refused(recompute):
    with pytest.raises(TypeError, match=f'recompute is True, False or None; got {recompute!r}'):
        backbone(recompute=recompute)


def test_by_config():
    for value, times in ((None, 2), (False, 1)):
        cfg = narrow(model_cfg(insert=rules(at=f'backbone.{ALL}'), frozen_stages=1))
        cfg.recompute = value
        assert runs(build(cfg).train().backbone) == times


# --- what else is done to models


def test_copies_and_pickles_have_their_own_attention():
    model = backbone()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        randomise(other.attention, seed=5), randomise(model.attention, seed=6)
        plain = detach(copy.deepcopy(other))
        plain = attach(plain, rules(), recompute=False).train()
        plain.attention.load_state_dict(other.attention.state_dict())
        assert runs(other) == 2
        other.attention.load_state_dict(plain.attention.state_dict())  # statistics, which runs() moved
        assert_same_bits(other, plain)


def test_detach_gives_the_stage_back():
    model = backbone()
    before = set(vars(ResNet(18).layer1))
    detach(model)
    assert type(model.layer1).__name__ == 'ResLayer' and set(vars(model.layer1)) == before
    assert runs(model) == 1
    attach(model, rules())
    model.layer1.__class__ = type('Changed', (type(model.layer1),), {})
    with pytest.raises(ValueError, match="the class of 'layer1' has been changed since attach"):
        detach(model)


def test_part_of_a_stage_is_a_plain_sequence():
    model = attach(Noisy(), rules('mmattn.SE', at='layer1.1')).train()
    assert isinstance(model.layer1, RecomputedStage)
    part, x = model.layer1[:2], image(model)
    assert part(x).equal(model.layer1[1](model.layer1[0](x)))


def test_state_dicts_are_those_of_the_stage_that_keeps_all():
    assert list(backbone().state_dict()) == list(backbone(recompute=False).state_dict())


def test_gates_are_recorded_once():
    model = backbone()
    with record_gates(model) as recorded:
        runs(model)
    assert sorted(each.source.name for each in recorded) == sorted(
        each.replace('_', '.') for each in model.attention
    )


@pytest.mark.parametrize('name', ['plain', 'aten'])
def test_the_backend_of_the_first_computation_computes_the_second(name):
    made = [backbone(recompute=each) for each in (None, False)]

    def forward(model):
        with ops.backend(name):
            return model(image(model))

    found, expected = (gradients(each, lambda _, each=each: forward(each)) for each in made)
    assert all(found[key].equal(grad) for key, grad in expected.items())


def test_clips_are_still_known_in_the_backward_pass():
    rule = {**temporal_rule(), 'at': 'backbone.layer[12].*.residual'}
    model = build_video(rule).train()
    model.backbone.layer1.requires_grad_(False)
    model.train()
    data = clips(model, 2, 2, True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert isinstance(model.backbone.layer1, RecomputedStage)
    block = model.attention['backbone_layer1_0_residual']
    assert block.action_p2_expand.weight.grad.any() and block.clips is None


@pytest.mark.parametrize('backend', ['aot_eager', pytest.param('inductor', marks=pytest.mark.slow)])
def test_compiled_without_a_break(backend):
    options = dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    made = [
        backbone(rules(at='layer1.*.residual'), recompute=each, **options).double() for each in (None, False)
    ]
    torch._dynamo.reset()
    try:
        compiled = [torch.compile(each, backend=backend, fullgraph=True) for each in made]
        kept = [kept_bytes(model, forward) for model, forward in zip(made, compiled)]
        assert kept[0] < 0.8 * kept[1]
        found, expected = gradients(made[0], compiled[0]), gradients(made[1])
        for name, grad in expected.items():
            torch.testing.assert_close(found[name], grad, rtol=1e-9, atol=1e-14, msg=name)
        assert all(a.allclose(b) for a, b in zip(made[0].buffers(), made[1].buffers()))
    finally:
        torch._dynamo.reset()


def kept_bytes(model, forward=None):
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), storage)
        return tensor.detach()  # not what its own step keeps: that would never be freed

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = (model if forward is None else forward)(image(model, (128, 192)))
    assert out
    return sum(number for number, _ in kept.values())


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::torch.jit.TracerWarning')
def test_exported_with_gradients_and_traced():
    options = dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    model = backbone(rules('mmattn.SE', at='layer1.*.residual'), **options)
    x = image(model)
    (expected,) = model(x)
    (exported,) = torch.export.export(model, (x,)).module()(x)
    assert exported.allclose(expected, atol=1e-5)
    (traced,) = torch.jit.trace(model, x, check_trace=False)(x)
    assert traced.allclose(expected, atol=1e-5)


def test_functional_gradients():
    """torch.func allows no hooks of saved tensors, with which PyTorch computes again."""
    model = backbone(rules('mmattn.SE'))
    parameters = {name: p for name, p in model.named_parameters() if name.startswith('attention.')}

    def loss(parameters):
        return sum(f.mean() for f in torch.func.functional_call(model, parameters, (image(model),)))

    found = torch.func.grad(loss)(parameters)
    expected = torch.autograd.grad(loss(parameters), list(parameters.values()))
    for name, grad in zip(parameters, expected):
        torch.testing.assert_close(found[name], grad, msg=name)


@pytest.mark.parametrize('static_graph', [False, True])
def test_ddp(tmp_path, static_graph):
    model, plain = (backbone(recompute=each, norm_eval=True).double() for each in (None, False))
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        wrapped = MMDistributedDataParallel(model, find_unused_parameters=False, static_graph=static_graph)
        for _ in range(2):  # DDP complains of unused parameters in the second pass
            assert_same_bits(model, plain, wrapped)
    finally:
        torch.distributed.destroy_process_group()


# --- the log


def test_one_line_says_so(monkeypatch):
    lines = []
    monkeypatch.setattr(log, 'print_log', lambda text, **_: lines.append(text))
    model = backbone(depth=18, frozen_stages=2)
    model.train()
    said = [line for line in lines if 'frozen stage' in line]
    assert said == [
        'attention trains in the frozen stages layer1, layer2: gradients pass through them, and they are '
        'computed again in the backward pass. recompute=False keeps their activations instead, with '
        'more memory. Attention costs neither where it is left out (at=...)'
    ]
    lines.clear()
    backbone(recompute=False)
    assert [line for line in lines if 'frozen stage' in line] == [
        'attention trains in the frozen stage layer1: gradients pass through it, and its activations are now '
        'kept. recompute=True computes it again in the backward pass instead, with less memory. '
        'Attention costs neither where it is left out (at=...)'
    ]
    lines.clear()
    for insert in (rules(freeze_with_host=True), rules(at='layer1')):
        backbone(insert)
    backbone(frozen_stages=-1), backbone(freeze_detector=True)
    assert not [line for line in lines if 'frozen stage' in line]
