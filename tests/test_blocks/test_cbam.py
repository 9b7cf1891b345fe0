from functools import partial

import pytest
import torch

from mmattn.blocks import CBAM
from tests.reference.cbam import cbam
from tests.test_blocks.helpers import check_against, check_agreement, randomise, smooth_map, timm_layer


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('channels, kernel_size', [(32, 7), (7, 3)])
def test_is_the_formula(channels, kernel_size, training):
    block = randomise(CBAM(channels, 4, kernel_size)).train(training)
    check_against(partial(cbam, training=training), block, smooth_map(2, channels, 5, 3))


def test_has_the_official_names_and_shapes():
    assert {k: tuple(v.shape) for k, v in CBAM(256).state_dict().items()} == {
        'ChannelGate.mlp.1.weight': (16, 256),
        'ChannelGate.mlp.1.bias': (16,),
        'ChannelGate.mlp.3.weight': (256, 16),
        'ChannelGate.mlp.3.bias': (256,),
        'SpatialGate.spatial.conv.weight': (1, 2, 7, 7),
        'SpatialGate.spatial.bn.weight': (1,),
        'SpatialGate.spatial.bn.bias': (1,),
        'SpatialGate.spatial.bn.running_mean': (1,),
        'SpatialGate.spatial.bn.running_var': (1,),
        'SpatialGate.spatial.bn.num_batches_tracked': (),
    }


def test_starts_as_the_official_model_does():
    block = CBAM(64)
    assert block.SpatialGate.spatial.bn.weight.item() == 0
    assert block.ChannelGate.mlp[1].bias.abs().sum() == block.ChannelGate.mlp[3].bias.abs().sum() == 0
    assert (block.gates(torch.randn(2, 64, 5, 5))['spatial'] == 0.5).all()


def test_running_statistics_move_in_training_only():
    block = CBAM(16)
    bn = block.SpatialGate.spatial.bn
    block.eval()(torch.randn(2, 16, 5, 5))
    assert bn.num_batches_tracked == 0
    block.train()(torch.randn(2, 16, 5, 5))
    assert bn.num_batches_tracked == 1 and bn.running_mean != 0


@pytest.mark.parametrize('shape', [(1, 16, 1, 1), (0, 16, 4, 4)])
def test_a_batch_without_a_variance_leaves_the_statistics_alone(shape):
    block = randomise(CBAM(16)).train()
    before = {k: v.clone() for k, v in block.named_buffers()}
    x = torch.randn(*shape)
    torch.testing.assert_close(block(x), block.eval()(x))
    assert all(v.equal(before[k]) for k, v in block.named_buffers())


def test_a_synchronised_norm_is_always_called():
    """Otherwise the other processes would wait for this one's statistics."""
    block = CBAM(16).train()
    calls = []

    class Norm(torch.nn.SyncBatchNorm):
        def forward(self, x):
            calls.append(tuple(x.shape))
            return x

    block.SpatialGate.spatial.bn = Norm(1)
    block(torch.randn(1, 16, 1, 1))
    assert calls == [(1, 1, 1, 1)]


def test_agrees_with_timm():
    theirs = randomise(timm_layer('cbam', 'CbamModule')(64)).eval()

    def convert(state):
        # timm has no biases, and [mean, max] in place of the official [max, mean].
        found = {
            'ChannelGate.mlp.1.weight': state['channel.fc1.weight'].flatten(1),
            'ChannelGate.mlp.3.weight': state['channel.fc2.weight'].flatten(1),
            'SpatialGate.spatial.conv.weight': state['spatial.conv.conv.weight'].flip(1),
        }
        found.update(
            {
                k.replace('spatial.conv.bn', 'SpatialGate.spatial.bn'): v
                for k, v in state.items()
                if 'spatial.conv.bn' in k
            }
        )
        return found

    # Our biases start at zero.
    check_agreement(CBAM(64).eval(), theirs, smooth_map(2, 64, 9, 7), convert)
