"""Training attention alone: `freeze_detector=True`."""

import copy

import pytest
from mmdet.models import ResNet
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from torch import distributed, nn
from torch.autograd.graph import saved_tensors_hooks

from mmattn import attach, detach
from tests.test_insertion.models import build, everywhere, features, model_cfg, narrow

SE = dict(type='mmattn.SE', start='identity')


def frozen_detector(rules=None, depth=18, **options):
    # By default mmdet freezes more: the first stage, and all norms.
    backbone = dict(frozen_stages=-1, norm_eval=False, norm_cfg=dict(type='BN', requires_grad=True))
    cfg = narrow(model_cfg(depth=depth, insert=rules or everywhere(start='paper'), **{**backbone, **options}))
    cfg.freeze_detector = True
    return build(cfg)


def base(model):
    return {
        key: value.clone() for key, value in model.state_dict().items() if not key.startswith('attention.')
    }


def step(model, run=features):
    wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.1))
    )
    wrapper.update_params(sum(f.square().mean() for f in run(model)))
    return wrapper


def test_a_step_moves_attention_and_nothing_else():
    model = frozen_detector().train()
    before, attention = base(model), copy.deepcopy(model.attention.state_dict())
    wrapper = step(model)
    assert all(value.equal(before[key]) for key, value in base(model).items())
    moved = {name for name, p in model.attention.named_parameters() if not p.equal(attention[name])}
    # Those of a gate before a spatial gate of weight zero may wait for the second step.
    assert len(moved) > len(attention) / 3
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith('attention.'))
    # No momentum is kept for what does not train.
    assert len(wrapper.optimizer.state) == len(list(model.attention.parameters()))
    bn = model.attention['backbone_layer1_0_residual'].SpatialGate.spatial.bn
    assert bn.num_batches_tracked == 1


@pytest.mark.parametrize('norm_eval', [True, False])
def test_statistics_stay_through_every_change_of_mode(norm_eval):
    model = frozen_detector(norm_eval=norm_eval)
    before = base(model)
    assert any('running_mean' in key for key in before)
    for _ in range(2):
        model.train()
        features(model)
        model.eval()
    model.train(True)
    assert model.training and model.backbone.training
    features(model)
    assert all(value.equal(before[key]) for key, value in base(model).items())


def test_statistics_stay_after_a_conversion_of_norms_and_in_a_copy():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(frozen_detector())
    for each in (copy.deepcopy(model), revert_sync_batchnorm(model)):
        each.train()
        before = base(each)
        features(each)
        assert all(value.equal(before[key]) for key, value in base(each).items())
        assert {n.partition('.')[0] for n, p in each.named_parameters() if p.requires_grad} == {'attention'}


def test_dropout_still_drops():
    model = nn.Module()
    model.conv, model.drop = nn.Conv2d(3, 4, 1), nn.Dropout(0.5)
    model.forward = lambda x: model.drop(model.conv(x))
    attach(model, [dict(at='conv', block=SE)], freeze_detector=True)
    assert model.train().drop.training


class Saved:
    """Bytes that autograd keeps while ``module`` runs."""

    def __init__(self, *modules):
        self.bytes, self._inside = 0, 0
        for module in modules:
            module.register_forward_pre_hook(lambda *_: self._enter(1))
            module.register_forward_hook(lambda *_: self._enter(-1))

    def _enter(self, way):
        self._inside += way

    def keep(self, tensor):
        if self._inside:
            self.bytes += tensor.nbytes
        return tensor


@pytest.mark.parametrize(
    'at, before, behind',
    [
        ('neck.fpn_convs.*', ['backbone', 'neck.lateral_convs.0'], []),
        (
            'backbone.layer3.*.residual',
            ['backbone.conv1', 'backbone.bn1', 'backbone.layer1', 'backbone.layer2'],
            ['backbone.layer4', 'neck.fpn_convs.0'],
        ),
    ],
)
def test_nothing_is_kept_for_the_backward_before_the_first_site(at, before, behind):
    model = frozen_detector([dict(at=at, block=SE)]).train()
    clear = Saved(*(model.get_submodule(name) for name in before))
    loaded = Saved(*(model.get_submodule(name) for name in behind))

    def keep(tensor):
        return loaded.keep(clear.keep(tensor))

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        sum(f.sum() for f in features(model)).backward()
    assert clear.bytes == 0
    assert bool(loaded.bytes) == bool(behind)
    assert all(p.grad is not None for p in model.attention.parameters())


@pytest.mark.parametrize('depth', [18, 50])
def test_with_cp_every_parameter_of_attention_gets_its_gradient(depth):
    found = []
    for with_cp in (False, True):
        model = frozen_detector(
            [dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE'))], depth, with_cp=with_cp
        ).train()
        sum(f.sum() for f in features(model)).backward()
        found.append({name: p.grad for name, p in model.attention.named_parameters()})
    assert found[0]
    for name, grad in found[0].items():
        assert (found[1][name] - grad).norm() <= 1e-5 * grad.norm(), name


@pytest.fixture
def process_group(tmp_path):
    distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_distributed_training_finds_no_unused_parameter(process_group):
    model = frozen_detector()

    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self):
            return features(self.model)

    parallel = MMDistributedDataParallel(Features(), find_unused_parameters=False)
    for _ in range(2):  # the second forward raises where a parameter got no gradient
        sum(f.sum() for f in parallel()).backward()
    assert all(p.grad is not None for p in model.attention.parameters())


def test_detach_lets_train_again_what_trained_before():
    backbone = ResNet(18, frozen_stages=1, norm_eval=False)
    backbone.train()
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    modes = {name: module.training for name, module in backbone.named_modules()}
    attach(backbone, [dict(at='**.residual', block=SE)], freeze_detector=True)
    assert not backbone.bn1.training and not backbone.layer4[0].bn1.training
    detach(backbone)
    assert 0 < len(trained) == sum(p.requires_grad for p in backbone.parameters())
    assert trained == {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert modes == {name: module.training for name, module in backbone.named_modules()}


def test_freeze_with_host_asks_for_what_was_frozen_before():
    backbone = attach(
        ResNet(18, frozen_stages=1),
        [dict(at='**.residual', block=SE, freeze_with_host=True)],
        freeze_detector=True,
    )
    for key, block in backbone.attention.items():
        assert all(p.requires_grad is not key.startswith('layer1') for p in block.parameters())


def test_nothing_left_to_train_is_refused():
    backbone = ResNet(18, frozen_stages=1)
    with pytest.raises(ValueError, match='freeze_with_host=True freezes all attention: nothing is left'):
        attach(
            backbone, [dict(at='layer1.*.residual', block=SE, freeze_with_host=True)], freeze_detector=True
        )
    assert type(backbone) is ResNet
    with pytest.raises(TypeError, match="freeze_detector is True or False; got 'yes'"):
        attach(backbone, [dict(at='layer4', block=SE)], freeze_detector='yes')
