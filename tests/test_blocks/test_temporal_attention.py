from functools import partial

import pytest
import torch

from mmattn.blocks import TemporalAttention
from tests.reference.temporal_attention import temporal_attention
from tests.test_blocks.helpers import check_against, randomise, smooth_map


@pytest.mark.parametrize('per_channel', [False, True])
@pytest.mark.parametrize('kernel_size', [1, 3, 5])
@pytest.mark.parametrize('frames', [1, 3])
def test_is_the_formula(frames, kernel_size, per_channel):
    block = randomise(TemporalAttention(8, frames, per_channel, 2, kernel_size))
    check_against(partial(temporal_attention, frames=frames), block, smooth_map(6, 8, 5, 3))


def test_has_the_official_names_and_shapes():
    assert {k: tuple(v.shape) for k, v in TemporalAttention(64, 8, True).state_dict().items()} == {
        'action_p2_squeeze.weight': (4, 64, 1, 1),
        'action_p2_conv1.weight': (4, 4, 3),
        'action_p2_expand.weight': (64, 4, 1, 1),
    }


def test_frames_see_their_neighbours_and_no_other_clip():
    block = randomise(TemporalAttention(16, 4, reduction=2)).eval()
    x = smooth_map(8, 16, 5, 3, dtype=torch.float32)
    gate = block.gates(x)['frame'].flatten()
    changed = x.clone()
    changed[1] += 1
    moved = (block.gates(changed)['frame'].flatten() != gate).nonzero().flatten().tolist()
    assert moved == [0, 1, 2]  # the frames of the first clip within reach of a kernel of 3
    swapped = torch.cat([x[4:], x[:4]])
    torch.testing.assert_close(block(swapped), torch.cat([block(x)[4:], block(x)[:4]]))


def test_any_number_of_frames():
    block = randomise(TemporalAttention(16, reduction=2)).eval()
    x = smooth_map(6, 16, 5, 3, dtype=torch.float32)
    for clips in ((1, 6), (2, 3), (6, 1)):
        block.clips = clips
        fixed = randomise(TemporalAttention(16, clips[1], reduction=2)).eval()
        assert block(x).equal(fixed(x))


@pytest.mark.parametrize(
    'num_frames, clips, text',
    [
        (4, None, 'a batch of 6 images does not consist of whole clips of num_frames=4'),
        (
            None,
            None,
            'num_frames=None takes the number of frames from the batches of the video detector that contains '
            'the block, but no video detector contains it: give num_frames=',
        ),
        (
            None,
            (2, 2),
            r'the batch holds 2 x 2 frames \(clips x frames\), but the map has batch size 6: this '
            'detector does not run the frames of a clip together',
        ),
    ],
)
def test_other_batches_are_refused(num_frames, clips, text):
    block = TemporalAttention(8, num_frames)
    block.clips = clips
    with pytest.raises(ValueError, match=text):
        block(torch.rand(6, 8, 5, 3))


@pytest.mark.parametrize(
    'options, text',
    [
        (dict(num_frames=0), 'num_frames=0; it must be a positive integer'),
        (dict(kernel_size=2), 'kernel_size=2; it must be an odd positive integer'),
    ],
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        TemporalAttention(8, **options)
