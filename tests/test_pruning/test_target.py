"""How much is taken: targets, rounding, groups, and what cannot be reached."""

import pytest
import torch

from mmattn.blocks import AttentionBlock
from mmattn.cost import model_cost
from mmattn.insertion.widths import set_widths, widths_of
from mmattn.pruning import CannotPrune, Target, channel_gates, prune_to
from mmattn.pruning.ranking import Gates, Magnitude, Random
from mmattn.pruning.target import _lowest, narrowed
from tests.test_pruning.models import Network, network

pytest.importorskip('torch_pruning')
SE = dict(type='mmattn.SE', reduction=4)
SIZE = (32, 40)


def operations(model):
    return model_cost(model, SIZE, memory=False).ops.total()


@pytest.mark.parametrize('part', [0.8, 0.5, 0.2])
def test_a_target_is_met_and_not_by_far(part):
    model = network(SE)
    before = operations(model)
    found = prune_to(model, Target(ops=part, size=SIZE), Magnitude)
    assert 0.85 * part < operations(found.model) / before <= part
    assert operations(model) == before  # which is left as it is


def test_parameters_can_be_the_target_and_both():
    model = network(SE)
    count = sum(p.numel() for p in model.parameters())
    few = prune_to(model, Target(parameters=0.5, size=SIZE), Magnitude).model
    assert sum(p.numel() for p in few.parameters()) <= 0.5 * count
    both = prune_to(model, Target(ops=0.9, parameters=0.5, size=SIZE), Magnitude).model
    assert widths_of(both) == widths_of(few)


def test_every_ranking_gives_the_same_shape_and_another_choice():
    model = network(SE)
    gates = {path: torch.rand(block.in_channels) for path, block in blocks(model).items()}
    found = [
        prune_to(model, Target(ops=0.5, size=SIZE), ranking)
        for ranking in (Magnitude, lambda: Random(0), lambda: Random(1), lambda: Gates(gates))
    ]
    assert all(widths_of(each.model) == widths_of(found[0].model) for each in found)
    assert len({tuple(taken for _, taken in each.groups) for each in found}) == 4
    again = prune_to(model, Target(ops=0.5, size=SIZE), lambda: Random(0))
    assert [taken for _, taken in again.groups] == [taken for _, taken in found[1].groups]


def blocks(model):
    return {
        path: each
        for path, each in model.named_modules()
        if isinstance(each, AttentionBlock) and path.startswith('attention')
    }


def test_magnitude_takes_the_channels_with_the_least_weights():
    model = Network().eval()
    weak = [1, 5, 7, 8]
    with torch.no_grad():
        for layer in (model.conv3.conv.weight, model.conv3.conv.bias):
            layer[weak] = 0
        model.out.conv.weight[:, weak] = 0
    found = prune_to(model, Target(ops=0.95, size=SIZE), Magnitude, ignore=['conv1'])
    (group, taken), *rest = found.groups
    assert not rest and group.layers == ('conv3.conv',) and set(weak) <= set(taken)


def test_gates_take_the_channels_that_they_weigh_least():
    model = network(SE)
    block = model.attention['conv3']
    with torch.no_grad():
        block.fc2.weight.zero_()
        block.fc2.bias.copy_(torch.linspace(-3, 3, 48).flip(0))
    images = [torch.rand(2, 3, 16, 16) for _ in range(3)]
    gates = channel_gates(model, images, lambda each, image: each(image))
    torch.testing.assert_close(gates['attention.conv3'], torch.sigmoid(block.fc2.bias.detach()))
    found = prune_to(model, Target(ops=0.7, size=SIZE), lambda: Gates(gates))
    group, taken = next((group, taken) for group, taken in found.groups if 'conv3.conv' in group.layers)
    assert taken == tuple(range(48 - len(taken), 48))
    assert found.ranked >= {'conv3.conv', 'attention.conv3'}


def test_gates_are_means_over_images_and_positions():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            from mmattn.blocks import CBAM, CoordAttention

            self.coordinates, self.cbam = CoordAttention(8, reduction=2), CBAM(8, reduction=2)

        def forward(self, x):
            return self.cbam(self.coordinates(x))

    model = Net().eval()
    images = [torch.rand(2, 8, 5, 7), torch.rand(1, 8, 3, 4)]
    gates = channel_gates(model, images, lambda each, image: each(image))
    expected = []
    with torch.no_grad():
        for image in images:
            found = model.coordinates.gates(image)
            expected += list((found['height'] * found['width']).mean((2, 3)))
    torch.testing.assert_close(gates['coordinates'], torch.stack(expected).mean(0))
    assert gates['cbam'].shape == (8,)  # of its channel gate alone


def test_groups_without_a_gate_are_ranked_by_magnitude():
    model = network(SE, at=['conv3'])
    gates = {'attention.conv3': torch.rand(48)}
    by_gates = prune_to(model, Target(ops=0.5, size=SIZE), lambda: Gates(gates))
    by_magnitude = prune_to(model, Target(ops=0.5, size=SIZE), Magnitude)
    first, other = (
        {group.layers: taken for group, taken in each.groups} for each in (by_gates, by_magnitude)
    )
    differ = {layers for layers in first if first[layers] != other[layers]}
    assert len(first) == 2 and all('conv3.conv' in layers for layers in differ) and differ
    assert 'conv3.conv' in by_gates.ranked and 'conv1.conv' not in by_gates.ranked


def test_widths_are_rounded():
    model = prune_to(network(SE), Target(ops=0.6, size=SIZE), Magnitude, round_to=8).model
    assert model.conv1.conv.out_channels % 8 == 0 and model.conv3.conv.out_channels % 8 == 0
    assert model.conv3.conv.out_channels < 48


def test_all_channels_stay_where_no_multiple_is_left():
    """48 channels have no multiple of 20 above 40: 40 or all of them."""
    for part in (0.9, 0.95):
        model = prune_to(network(SE), Target(parameters=part, size=SIZE), Magnitude, round_to=20).model
        widths = {each.out_channels for each in model.modules() if isinstance(each, torch.nn.Conv2d)}
        before = {each.out_channels for each in network(SE).modules() if isinstance(each, torch.nn.Conv2d)}
        assert all(width % 20 == 0 or width in before for width in widths)
    with pytest.raises(CannotPrune, match='--round-to 4096: no layer would lose a channel'):
        prune_to(network(SE), Target(parameters=0.9, size=SIZE), Magnitude, round_to=4096)
    with pytest.raises(CannotPrune, match='remain with 16 channels, or all where there are fewer, in each'):
        prune_to(network(SE), Target(parameters=0.001, size=SIZE), Magnitude, round_to=16)


def test_sets_of_a_group_norm_lose_the_same_places():
    assert _lowest(torch.tensor([3.0, 1, 2, 9, 0, 2]), 2, 2) == (1, 4)
    assert _lowest(torch.tensor([3.0, 1, 2, 9, 0, 2]), 2, 1) == (1, 4)
    assert _lowest(torch.tensor([3.0, 1, 2, 9, 0, 0.5]), 2, 1) == (4, 5)


@pytest.mark.parametrize('asked', [dict(), dict(ops=1.0), dict(ops=0), dict(parameters=-1), dict(ops=2)])
def test_a_target_is_a_part(asked):
    with pytest.raises(CannotPrune, match='above 0 and below 1, such as --ops 0.7'):
        Target(**asked)


def test_what_cannot_be_reached_is_refused_with_what_can():
    model = network(SE)
    with pytest.raises(CannotPrune, match=r'the target, 1% of the operations, cannot be reached: [\d.]+% of'):
        prune_to(model, Target(ops=0.01, size=SIZE), Magnitude, ignore=['conv3'])
    with pytest.raises(CannotPrune, match='no layer whose channels may be taken outside --ignore'):
        prune_to(model, Target(ops=0.5, size=SIZE), Magnitude, ignore=['*'])


@pytest.mark.parametrize('block', ['SGE', 'EMA', 'NonLocal'])
def test_a_block_that_cannot_be_pruned_is_named_with_the_remedy(block):
    options = dict(factor=4) if block == 'EMA' else dict(groups=4) if block == 'SGE' else {}
    model = network(dict(type=f'mmattn.{block}', **options), at=['conv3'])
    with pytest.raises(
        CannotPrune, match=rf"'attention.conv3' cannot be pruned: {block}.*--ignore '"
    ) as error:
        prune_to(model, Target(ops=0.95, size=SIZE), Magnitude)
    remedy = str(error.value).rpartition("--ignore '")[2].rstrip("'")
    assert prune_to(model, Target(ops=0.95, size=SIZE), Magnitude, ignore=[remedy]).model is not model


def test_a_block_of_another_package_is_refused():
    model = network(dict(type='tests.test_pruning.models.Scale'), at=['conv3'])
    with pytest.raises(ValueError, match="the Scale at 'conv3' cannot be pruned"):
        prune_to(model, Target(ops=0.8, size=SIZE), Magnitude)


def test_the_record_has_what_changed():
    model = network(SE)
    found = prune_to(model, Target(ops=0.6, size=SIZE), Magnitude)
    widths = narrowed(found.model, model)
    assert {'conv1.conv', 'attention.conv3', 'attention.conv2', 'out.conv'} <= widths.keys()
    assert widths_of(set_widths(network(SE), widths)) == widths_of(found.model)
