import pytest
import torch

from mmattn.blocks import CBAM, SE, SGE, ChannelAttention, Compose, SpatialAttention
from tests.test_blocks.helpers import randomise, smooth_map

CHANNEL, SPATIAL = dict(type='mmattn.ChannelAttention', reduction=4), dict(type='SpatialAttention')


def x(dtype=torch.float32):
    return smooth_map(2, 16, 7, 5, dtype=dtype)


@pytest.mark.parametrize('start', ['paper', 'identity'])
def test_channel_then_spatial_is_cbam(start):
    cbam = randomise(CBAM(16, 4, start=start)).eval()
    both = Compose(16, [CHANNEL, SPATIAL], start=start).eval()
    both.blocks[0].load_state_dict(cbam.ChannelGate.state_dict())
    both.blocks[1].load_state_dict(cbam.SpatialGate.state_dict())
    assert both(x()).equal(cbam(x()))
    assert [(k, v.tolist()) for k, v in both.gates(x()).items()] == [
        (k, v.tolist()) for k, v in cbam.gates(x()).items()
    ]


def test_the_order_is_the_one_stated():
    block = randomise(Compose(16, [SPATIAL, CHANNEL])).eval()
    spatial, channel = block.blocks
    assert isinstance(spatial, SpatialAttention) and isinstance(channel, ChannelAttention)
    assert block(x()).equal(channel(spatial(x())))
    assert not torch.allclose(block(x()), spatial(channel(x())))


def test_parallel_gates_see_the_input():
    block = randomise(Compose(16, [CHANNEL, SPATIAL], how='parallel')).eval()
    one, two = (next(iter(part.gates(x()).values())) for part in block.blocks)
    torch.testing.assert_close(block(x()), x() * one * two)


def test_gates_with_the_same_name_are_multiplied():
    block = randomise(Compose(16, [dict(type='SE'), dict(type='ECA')])).eval()
    ((name, gate),) = block.gates(x()).items()
    assert name == 'channel'
    torch.testing.assert_close(x() * gate, block(x()))


def test_groups_of_different_sizes_become_one_gate_per_element():
    block = randomise(Compose(16, [dict(type='SGE', groups=g) for g in (2, 4, 2)])).eval()
    assert [part.groups for part in block.blocks] == [2, 4, 2] and isinstance(block.blocks[0], SGE)
    gates = block.gates(x())
    expected = x()
    for gate in gates.values():
        expected = expected * gate.repeat_interleave(16 // gate.shape[1], 1)
    torch.testing.assert_close(block(x()), expected)


def test_blocks_without_a_start_get_that_of_the_composition():
    block = Compose(16, [dict(type='SE', start='identity'), dict(type='ECA')], start='paper')
    assert [part.start for part in block.blocks] == ['identity', 'paper']


def test_no_part_of_an_identity_starts_otherwise():
    parts = [dict(type='ECA'), dict(type='Compose', blocks=[dict(type='SE', start='paper')])]
    with pytest.raises(
        ValueError, match="Compose: start='identity' was asked for, but its part SE has start='pa"
    ):
        Compose(16, parts, start='identity')
    assert (
        not Compose(16, parts).paper_is_identity
        and Compose(16, [dict(type='GlobalContext')]).paper_is_identity
    )


def test_additive_blocks_can_be_in_a_chain():
    block = Compose(16, [dict(type='GlobalContext'), dict(type='SE')], start='identity')
    assert block.role == 'additive' and Compose(16, [CHANNEL]).role == 'gate'
    assert block(x()).equal(x())


def test_compositions_can_be_composed():
    inner = dict(type='Compose', blocks=[CHANNEL, SPATIAL], how='parallel')
    block = Compose(16, [inner, dict(type=SE)], start='identity')
    assert block(x()).equal(x()) and list(block.gates(x())) == ['channel', 'spatial']


@pytest.mark.parametrize(
    'options, text',
    [
        (dict(blocks=[]), r'blocks must be a list of configs with a type, such as .*; got \[\]'),
        (dict(blocks=dict(type='SE')), 'blocks must be a list of configs'),
        (dict(blocks=['SE']), 'blocks must be a list of configs'),
        (dict(blocks=[dict(type='SE')], how='sum'), "how='sum'; possible: 'chain', 'parallel'"),
        (
            dict(blocks=[dict(type='GlobalContext')], how='parallel'),
            "how='parallel' multiplies gates, and GlobalContext has none; use how='chain'",
        ),
        (
            dict(blocks=[dict(type='torch.nn.Identity')]),
            "'torch.nn.Identity' is not an attention block; wrap any other module in "
            r"dict\(type='mmattn.External', module=dict\(type='torch.nn.Identity'\)\)",
        ),
        (dict(blocks=[dict(type='SE', reduction=0)]), 'SE: reduction=0; it must be a positive integer'),
    ],
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        Compose(16, **options)


def test_an_unknown_option_is_named():
    with pytest.raises(TypeError, match="Compose: SE has no option 'reductoin'; did you mean 'reduction'"):
        Compose(16, [dict(type='SE', reductoin=4)])


def test_an_unknown_block_is_named():
    with pytest.raises(KeyError, match="'mmattn.CBAMM' is not registered; did you mean 'mmattn.CBAM'"):
        Compose(16, [dict(type='CBAMM')])
