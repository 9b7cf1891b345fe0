"""What cannot be converted exactly is refused, by name and with the reason."""

import os

import pytest
import torch
from safetensors.torch import save_file

from mmattn.checkpoints import UntrustedCheckpoint
from mmattn.checkpoints.convert import NotConverted, NotMappable, convert, convert_file
from tests.reference import resnets
from tests.test_checkpoints import attacks
from tests.test_checkpoints.test_convert.helpers import peer


def meta_state(**options):
    with torch.device('meta'):
        return resnets.ResNet(
            **dict(blocks=(3, 4, 6, 3), bottleneck=True, attention=(resnets.SE,) * 4) | options
        )


def state_of(**options):
    """Names and shapes of weights of a timm SE-ResNet-50, or of one that differs."""
    return meta_state(**options).state_dict()


def deep(state, widths):
    """The names of a deep stem."""
    state = {key: value for key, value in state.items() if not key.startswith(('conv1', 'bn1'))}
    channels = 3
    for i, width in zip((0, 3, 6), widths):
        state[f'conv1.{i}.weight'] = torch.empty(width, channels, 3, 3, device='meta')
        channels = width
    for name, width in (('conv1.1', widths[0]), ('conv1.4', widths[1]), ('bn1', widths[2])):
        for each in ('weight', 'bias', 'running_mean', 'running_var'):
            state[f'{name}.{each}'] = torch.empty(width, device='meta')
    return state


def refused(state, **options):
    with pytest.raises(NotConverted) as caught:
        convert(state, **options)
    return str(caught.value)


def test_a_tiered_stem():
    said = refused(deep(state_of(), (24, 32, 64)))
    assert said == (
        "the stem has widths 24-32-64, and that of MMDetection's ResNetV1d 32-32-64: no option gives a "
        "tiered stem ('t' in the model's name) or another width"
    )


def test_another_depth():
    said = refused(state_of(blocks=(2, 2, 2, 2)))
    assert said.startswith(
        "the stages have 2-2-2-2 bottlenecks, a depth that MMDetection's ResNet does not have. It has "
        '18 (2-2-2-2 basic blocks), 34 (3-4-6-3 basic blocks), 50 (3-4-6-3 bottlenecks), 101'
    )


def test_pruned_widths():
    state = state_of()
    state['layer2.1.conv2.weight'] = torch.empty(101, 128, 3, 3, device='meta')
    assert refused(state) == (
        "layer2.1.conv2.weight has 101 channels, and that of MMDetection's ResNet 128: the model was pruned, "
        'or has widths of its own'
    )


def test_large_shortcuts():
    state = state_of()
    state['layer2.0.downsample.0.weight'] = torch.empty(512, 256, 3, 3, device='meta')
    assert 'its shortcuts are 3x3 convolutions (layer2.0.downsample.0.weight), as in SENet-154' in refused(
        state
    )


def selective(state, per_branch):
    """The names of timm's selective kernels; those of skresnet50 take ``per_branch`` channels each."""
    state = {key: value for key, value in state.items() if '.conv2.' not in key and '.bn2.' not in key}
    for stage, number in enumerate((3, 4, 6, 3), 1):
        width = 64 * 2 ** (stage - 1)
        for unit in (f'layer{stage}.{i}' for i in range(number)):
            for i in (1, 3):
                state[f'{unit}.conv{i}.conv.weight'] = state.pop(f'{unit}.conv{i}.weight')
                for each in ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'):
                    state[f'{unit}.conv{i}.bn.{each}'] = state.pop(f'{unit}.bn{i}.{each}')
            for i in range(2):
                state[f'{unit}.conv2.paths.{i}.conv.weight'] = torch.empty(
                    width, width // 2, 3, 3, device='meta'
                )
            state[f'{unit}.conv2.attn.fc_reduce.weight'] = torch.empty(32, width, 1, 1, device='meta')
    return state


def test_branches_that_split_their_input():
    """A grouped convolution with two groups has the same shapes: it would load and compute something else."""
    said = refused(selective(state_of(attention=(None,) * 4), 2))
    assert said.startswith('its two branches split the input (split_input=True')


@pytest.mark.parametrize(
    'names, said',
    [
        (('layer0.conv1.weight', 'layer1.0.se_module.fc1.weight'), "timm's legacy_se*"),
        (('stem.conv1.conv.weight', 'stages.0.0.conv1_1x1.conv.weight'), "a ByobNet of timm's"),
        (('layer1.0.conv1.paths.0.conv.weight',), "timm's skresnet18 or skresnet34"),
        (('layer1.0.conv2g.weight',), "PytorchInsight's SK-ResNet"),
    ],
)
def test_whole_layouts(names, said):
    with pytest.raises(NotMappable, match='cannot be converted: ') as caught:
        convert({name: torch.empty(1) for name in names})
    assert str(caught.value).startswith(said)


def test_the_name_of_the_file_tells_an_anti_aliased_model():
    """Its weights have the names and shapes of one that is not."""
    said = refused(state_of(), hint='seresnextaa101d_32x8d_ah-83f4a5b1.pth')
    assert said.startswith("timm's seresnextaa101d_32x8d cannot be converted: it is anti-aliased ('aa')")


def test_two_models_with_the_same_weights_have_to_be_told_apart():
    state = {}
    for key, value in state_of(attention=(None,) * 4).items():
        parts = key.split('.')
        if key.startswith('layer'):
            unit = f'features.stage{parts[0][5:]}.unit{int(parts[1]) + 1}'
            if parts[2].startswith('conv'):
                state[f'{unit}.body.{parts[2]}.conv.weight'] = value
            elif parts[2].startswith('bn'):
                state[f'{unit}.body.conv{parts[2][2:]}.bn.{parts[3]}'] = value
            else:
                state[f'{unit}.identity_conv.{"bn" if parts[3] == "1" else "conv"}.{parts[4]}'] = value
            state[f'{unit}.se.conv1.weight'] = torch.empty(16 * 2 ** int(parts[0][5:]) // 2, 1, device='meta')
        elif not key.startswith('fc'):
            state[f'features.init_block.conv.{"conv" if key.startswith("conv") else "bn"}.{parts[1]}'] = value
    assert refused(state) == (
        'seresnet50 and seresnet50b have the same names and shapes of weights, and compute different maps: '
        'say which one the file is of (--model NAME)'
    )


def test_a_name_that_is_not_that_of_the_file():
    said = refused(state_of(), model='seresnet101')
    assert said == (
        'the file is not that of seresnet101: it has SE in ResNet(depth=50), and seresnet101 has SE in '
        'ResNet(depth=101)'
    )


def test_a_name_may_have_its_tag():
    assert convert(state_of(), model='seresnet50.a1_in1k').model.name == 'seresnet50'


def test_unknown_names():
    assert refused(state_of(), model='seresnet51').startswith(
        "'seresnet51' is no model that timm has here; nearest: "
    )
    assert refused(state_of(), source='official').startswith(
        'the names of the weights are not those of official: they are those of timm ResNet with SE or ECA. '
    )
    assert refused({'a.weight': torch.empty(1)}).startswith(
        'the names of the weights are not those of a known source: they begin with a.weight. Known are: timm '
    )
    with pytest.raises(NotConverted, match="--from is 'auto' or one of timm, official"):
        convert(state_of(), 'torchvision')


def test_an_unknown_weight_is_an_error():
    state = state_of() | {'layer1.0.extra.weight': torch.empty(1)}
    assert refused(state) == (
        f'1 of {len(state)} weights are none of timm ResNet with SE or ECA: layer1.0.extra.weight'
    )


def test_missing_and_misshapen_weights_are_errors():
    state = state_of()
    del state['layer4.2.bn3.weight']
    state['layer3.1.bn1.bias'] = torch.empty(7, device='meta')
    assert refused(state) == (
        'ResNet(depth=50) cannot take the weights: 1 weights are missing in the file: layer4.2.bn3.weight; '
        '1 weights have another shape: layer3.1.bn1.bias (7,) instead of (256,)'
    )
    state = state_of()
    state['layer1.0.se.fc2.weight'] = torch.empty(256, 17, 1, 1, device='meta')
    assert 'the SE at layer1.0 does not fit mmattn.SE: fc2.weight has the shape (256, 17, 1, 1)' in refused(
        state
    )


def test_a_block_that_is_missing_in_one_place():
    state = {key: value for key, value in state_of().items() if not key.startswith('layer2.1.se.')}
    assert refused(state) == (
        "3 of the 4 residual blocks of layer2 have attention, with the options dict(type='mmattn.SE'): a "
        'known source has the same in all'
    )


def test_basic_blocks_and_stages_take_no_plugins():
    basic = convert(peer().state_dict())
    with pytest.raises(
        NotMappable, match='basic blocks .* take no plugins: convert for attention in the model'
    ):
        basic.state('plugins')
    between = convert(peer(attention=(None,) * 4, between=resnets.BAM).state_dict())
    with pytest.raises(
        NotMappable, match=r'a block follows layer1, and plugins= ends residual branches only'
    ):
        between.plugins  # noqa: B018


def test_a_file_that_is_cut_off(tmp_path):
    state = {'conv1.weight': torch.zeros(100)}
    torch.save(state, tmp_path / 'a.pth')
    save_file(state, tmp_path / 'a.safetensors')
    for name, said in (
        ('a.pth', 'it is cut off or damaged'),
        ('a.safetensors', 'is damaged, or no safetensors file'),
    ):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) - 100])
        with pytest.raises(ValueError, match=said):
            convert_file(tmp_path / name, tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_a_pickle_that_wants_to_run_code(tmp_path):
    marker = tmp_path / 'marker'
    (tmp_path / 'bad.pth').write_bytes(
        attacks.saved({'state_dict': attacks.Call(os.system, f'touch {marker}')})
    )
    with pytest.raises(UntrustedCheckpoint, match='system'):
        convert_file(tmp_path / 'bad.pth', tmp_path / 'out.pth')
    assert not marker.exists() and not (tmp_path / 'out.pth').exists()


def test_files_that_hold_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint file '.*nothing.pth'; looked in "):
        convert_file(tmp_path / 'nothing.pth', tmp_path / 'out.pth')
    torch.save({'epoch': 3, 'state_dict': {'weights': [1, 2]}}, tmp_path / 'a.pth')
    with pytest.raises(NotConverted, match="holds no weights by their names, but 'weights'"):
        convert_file(tmp_path / 'a.pth', tmp_path / 'out.pth')
    torch.save({'conv1.weight': torch.tensor([1.0, float('nan')])}, tmp_path / 'b.pth')
    with pytest.raises(ValueError, match='1 of 1 weights hold NaN or infinite values'):
        convert_file(tmp_path / 'b.pth', tmp_path / 'out.pth')
