import torch

from mmattn.blocks import SE, StaticGate
from tests.reference.static_gate import static_gate
from tests.test_blocks.helpers import check_against, randomise, smooth_map


def test_is_the_formula():
    check_against(static_gate, randomise(StaticGate(7)), smooth_map(2, 7, 5, 3))


def test_does_not_see_the_map_and_starts_at_one():
    block = StaticGate(6)
    x, y = (smooth_map(3, 6, 5, 4, dtype=torch.float32, seed=seed) for seed in (1, 2))
    assert (block.gates(x)['channel'] == 1).all() and block(x).equal(x)
    randomise(block)
    gates = block.gates(x)['channel']
    assert gates.equal(block.gates(y)['channel']) and gates[0].equal(gates[2])
    assert gates[0].unique().numel() == 6
    assert [name for name, _ in block.named_parameters()] == ['z'] and block.z.numel() == 6


def test_weight_decay_pulls_it_to_one():
    block = randomise(StaticGate(6))
    before = (block.gates(torch.ones(1, 6, 2, 2))['channel'] - 1).abs()
    block.z.grad = torch.zeros_like(block.z)
    torch.optim.AdamW(block.parameters(), lr=0.1, weight_decay=1.0).step()
    assert ((block.gates(torch.ones(1, 6, 2, 2))['channel'] - 1).abs() < before).all()


def test_is_an_se_of_which_only_the_last_bias_is_left():
    """So a study that compares the two asks for adaptivity alone."""
    block, se = randomise(StaticGate(8)), randomise(SE(8, reduction=2, start='identity'))
    with torch.no_grad():
        se.fc2.weight.zero_()
        se.fc2.bias.copy_(block.z.flatten())
    maps = [smooth_map(3, 8, 5, 4, dtype=torch.float32, seed=1).requires_grad_() for _ in range(2)]
    for each, x in zip((block, se), maps):
        each.float()(x).square().sum().backward()
    assert block.gates(maps[0])['channel'].equal(se.gates(maps[1])['channel'])
    torch.testing.assert_close(block.z.grad.flatten(), se.fc2.bias.grad)
    torch.testing.assert_close(maps[0].grad, maps[1].grad)
