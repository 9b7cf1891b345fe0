"""A run on fake tensors says what flows through a model, and leaves it as it was."""

import threading

import numpy as np
import pytest
import torch
from mmdet.models import FPN, ResNet
from torch import nn

from mmattn import attach, sites
from mmattn.insertion import fake_mmcv_ops
from mmattn.insertion.fake_run import fake_run
from mmattn.insertion.site_search import find_sites
from tests.test_insertion.models import build, model_cfg
from tests.test_insertion.test_odd_models import Parts, small


def test_a_fake_run_leaves_the_model_as_it_was():

    class Caching(ResNet):
        cache = None

        def forward(self, x):
            self.cache = x.new_ones(x.shape[2:])
            self.register_buffer('seen', x.sum())
            return super().forward(x)

    model = build(model_cfg())
    model.backbone.__class__ = Caching
    model.train()
    model.backbone.layer2.eval()
    training = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state(), np.random.get_state()[1].copy()
    run = fake_run(model, (128, 192))
    assert run.covered == ['backbone', 'neck', 'rpn_head']
    assert run.outputs('backbone.layer4')[0].shape[1] == 512
    assert [module.training for module in model.modules()] == training
    assert model.backbone.cache is None and not hasattr(model.backbone, 'seen')
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random[0]) and (np.random.get_state()[1] == random[1]).all()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_fake_run_takes_no_memory():
    model = nn.Sequential(nn.Conv2d(3, 1024, 1), nn.Conv2d(1024, 8, 1))
    # Its first map alone would have 4 TiB.
    assert sites(model, (32768, 32768))[0].size == (32768, 32768)


def test_where_the_neck_cannot_run_without_data_the_backbone_still_tells():

    class Stubborn(FPN):
        def forward(self, inputs):
            return super().forward(inputs) if float(inputs[0].sum()) else None

    model = build(model_cfg())
    model.neck.__class__ = Stubborn
    table = find_sites(model)
    assert [len(table.names.get(name, ())) for name in ('backbone.stage4', 'neck.output')] == [1, 0]
    assert table.names['neck.fpn_convs.0'][0].channels == 256  # by its attribute
    with pytest.raises(
        ValueError,
        match="'neck': it is unknown whether Stubborn returns one map.*a run on "
        'fake tensors failed with DataDependentOutputException',
    ):
        attach(model, dict(at='neck', block=dict(type='mmattn.SE')))


def test_caches_within_containers_are_left_as_they_were():

    class Caching(Parts):
        seen, cache = None, None

        def forward(self, x):
            x = super().forward(x)
            self.seen.append(x)
            self.cache['last'] = x
            return x

    model = Caching()
    model.seen, model.cache = [1], dict(last=2, first=3)
    seen, cache = model.seen, model.cache
    assert fake_run(model).covered == ['']
    assert model.seen is seen == [1] and model.cache is cache == dict(last=2, first=3)


def test_compiled_ops_on_data_stay_what_they_are_meanwhile():
    from mmcv.ops import ModulatedDeformConv2dPack

    torch.manual_seed(0)
    conv, x = ModulatedDeformConv2dPack(4, 4, 3, padding=1), torch.randn(1, 4, 8, 8)
    nn.init.normal_(conv.conv_offset.weight)
    expected = conv(x)
    with fake_mmcv_ops.shapes_only():
        assert conv(x).equal(expected)
    assert conv(x).equal(expected)


def test_fake_runs_in_two_threads_leave_one_model_as_it_was():
    model, found = small().train(), []
    expected, training = [site.name for site in sites(model)], [m.training for m in model.modules()]
    threads = [
        threading.Thread(target=lambda: found.append([site.name for site in sites(model)])) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3 and [m.training for m in model.modules()] == training
