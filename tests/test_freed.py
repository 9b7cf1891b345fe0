"""Nothing that is done to a model keeps it in memory afterwards: notebooks and sweeps build many."""

import gc
import weakref

import pytest
import torch

from mmattn import attach, detach, sites
from mmattn.checkpoints import save_adapter
from mmattn.cost import model_cost
from mmattn.insertion import check_identity
from mmattn.pruning import Magnitude, Target, prune_to
from mmattn.visualization import record_gates
from tests.test_insertion.models import build, model_cfg, narrow

RULE = dict(at='backbone.layer[2-4].*.residual', block=dict(type='mmattn.CBAM'))
IMAGE = torch.rand(1, 3, 64, 64)


def trained(model, **options):
    attach(model, RULE, **options)
    sum(out.sum() for out in model.train().extract_feat(IMAGE)).backward()


def forward_alone(model):
    attach(model, RULE)
    model.train().extract_feat(IMAGE)


def attached_and_detached(model):
    attach(model, RULE)
    detach(model)


def identity_checked(model):
    check_identity(model.eval(), IMAGE, dict(type='mmattn.SE', start='identity'))


def gates_recorded(model):
    attach(model, RULE)
    with torch.no_grad(), record_gates(model.eval(), lambda source, x, gates: gates):
        model.extract_feat(IMAGE)


def pruned(model):
    pytest.importorskip('torch_pruning')
    attach(model, RULE)
    prune_to(model.eval(), Target(parameters=0.9, size=(64, 64)), Magnitude)


@pytest.mark.parametrize(
    'use',
    [
        sites,
        lambda model: attach(model, RULE),
        attached_and_detached,
        forward_alone,
        trained,
        lambda model: trained(model, recompute=True),
        lambda model: trained(model, freeze_detector=True),
        identity_checked,
        gates_recorded,
        lambda model: model_cost(model, (64, 64)),
        pruned,
    ],
    ids=[
        'sites', 'attach', 'detach', 'forward', 'trained', 'recompute', 'freeze_detector', 'check_identity',
        'record_gates', 'model_cost', 'pruned',
    ],
)  # fmt: skip
def test_the_model_is_freed(use):
    model = build(narrow(model_cfg('RetinaNet', depth=18)))
    kept = [weakref.ref(each) for each in [model, *model.parameters()]]
    use(model)
    del model
    gc.collect()
    assert all(each() is None for each in kept)


def test_the_model_whose_adapter_was_saved_is_freed(tmp_path):
    model = build(narrow(model_cfg('RetinaNet', depth=18)))
    attach(model, RULE)
    save_adapter(model, tmp_path / 'a.safetensors')
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None
