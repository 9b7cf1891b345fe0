"""Parameters sharded over processes by PyTorch's fully_shard: the gradients are those of DDP."""

import pytest
import torch

from mmattn.blocks import AttentionBlock

from . import test_distributed_step as ddp

CONFIG = 'cbam/retinanet_r18-cbam_fpn_1x_coco.py'


def sharded_parts(model, unit):
    """Modules to shard on their own, inner ones first, as fully_shard wants them."""
    from mmdet.models.backbones.resnet import BasicBlock

    classes = dict(model=(), residual_block=(BasicBlock,), attention_block=(AttentionBlock,))[unit]
    return [module for module in reversed(list(model.modules())) if isinstance(module, classes)]


def sharded(rank, count, port, config, folder, unit):
    """Write the whole gradients of sharded parameters, and the whole weights after a step."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    ddp.join(rank, count, port)
    model = ddp.detector(config)
    mesh = init_device_mesh('cpu', (count,))
    for module in sharded_parts(model, unit):
        fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    parameters = list(model.attention.parameters())
    assert sum(p.to_local().numel() for p in parameters) < 0.6 * sum(p.numel() for p in parameters)
    ddp.compute_gradients(model, model, ddp.images_of(rank, count), seed=rank)
    gradients = {n: p.grad.full_tensor() for n, p in model.named_parameters() if p.grad is not None}
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    torch.save(dict(gradients=gradients, weights=weights), f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def by_model(rank, count, port, config, folder):
    sharded(rank, count, port, config, folder, 'model')


def by_residual_block(rank, count, port, config, folder):
    sharded(rank, count, port, config, folder, 'residual_block')


def by_attention_block(rank, count, port, config, folder):
    sharded(rank, count, port, config, folder, 'attention_block')


@pytest.mark.slow
@pytest.mark.parametrize('function', [by_model, by_residual_block, by_attention_block])
def test_sharded_gradients_are_those_of_ddp(function, request, tmp_path):
    config = ddp.config_of(request, CONFIG)
    (tmp_path / 'ddp').mkdir()
    expected, _ = ddp.in_processes(2, config, tmp_path / 'ddp')
    found, _ = ddp.in_processes(2, config, tmp_path, function)
    model = ddp.detector(config)
    ddp.assert_same(found['gradients'], expected, model)
    assert found['weights'].keys() == model.state_dict().keys()
    ddp.backward(model, model, [0], seed=0)
    model.load_state_dict(found['weights'])
