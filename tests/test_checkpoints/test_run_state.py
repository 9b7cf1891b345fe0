"""A checkpoint to resume records a run, and what does not is named."""

import pytest
import torch

from mmattn.checkpoints import read_checkpoint
from mmattn.checkpoints.damage import damage_of
from mmattn.checkpoints.run_state import require_run


def run(**changes):
    """What MMEngine and ``ExactResumeHook`` save of a run, as far as it is read again."""
    found = dict(
        meta=dict(epoch=1, iter=8, seed=3),
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
        optimizer=dict(state={0: dict(step=1)}, param_groups=[dict(params=[0])]),
        param_schedulers=[dict(last_step=1)],
        exact_resume=dict(
            seed=3, skip=0, sampler_seeds=[3], evaluated=True, complete=True, optimizer='SGD', world_size=1,
            samples=4, batch_size=4, device='cpu', torch='2.13', unsaved=[dict(attributes={}, buffers={})],
        ),
    )  # fmt: skip
    for key, value in changes.items():
        *path, last = key.split('__')
        node = found
        for part in path:
            node = node[part]
        if value is KeyError:
            del node[last]
        else:
            node[last] = value
    return found


@pytest.mark.parametrize(
    'changes',
    [
        {},
        dict(exact_resume=KeyError),  # of a run without ExactResumeHook
        dict(optimizer=KeyError, param_schedulers=KeyError),  # save_optimizer=False
        dict(optimizer=dict(generator=dict(state={}, param_groups=[]))),
        dict(param_schedulers=dict(generator=[])),
        dict(meta__seed=None, exact_resume__unsaved=None),
        dict(exact_resume__batch_size=None),
    ],
)
def test_a_run_can_go_on(changes):
    require_run(run(**changes))


@pytest.mark.parametrize(
    'changes, says',
    [
        (dict(meta=None), 'meta.epoch is missing'),
        (
            dict(meta__iter=KeyError),
            r'not the epoch and iteration of a run to resume \(meta.iter is missing\)',
        ),
        (dict(message_hub=KeyError), 'message_hub is missing'),
        (
            dict(meta__iter='x'),
            "meta.iter is 'x', and a whole number from 0 on is needed. Resume from another",
        ),
        (dict(meta__epoch=-1), 'meta.epoch is -1, and a whole number from 0 on'),
        (dict(meta__seed=2.5), 'meta.seed is 2.5'),
        (dict(message_hub__runtime_info=[]), r'message_hub.runtime_info is \[\], and a dict is needed'),
        (dict(message_hub__log_scalars=KeyError), 'message_hub.log_scalars is missing'),
        (dict(optimizer=3), 'optimizer is 3, and the state of an optimizer, or of several by name is needed'),
        (dict(optimizer={}), 'optimizer is {}, and'),
        (dict(optimizer=dict(a=1)), "optimizer is {'a': 1}, and"),
        (dict(optimizer__param_groups=[3]), r'optimizer.param_groups is \[3\], and a list of dicts'),
        (dict(param_schedulers='x'), "param_schedulers is 'x'"),
        (dict(exact_resume=[1]), r'exact_resume is \[1\]'),
        (dict(exact_resume=dict(a=1)), 'exact_resume.seed is missing'),
        (dict(exact_resume__sampler_seeds=3), 'exact_resume.sampler_seeds is 3'),
        (dict(exact_resume__unsaved=[{}]), r'exact_resume.unsaved is \[{}\]'),
    ],
)
def test_what_records_no_run_is_named(changes, says):
    with pytest.raises(ValueError, match=says):
        require_run(run(**changes))


@pytest.mark.parametrize(
    'value, says', [(float('nan'), 'NaN or infinite'), (float('inf'), 'NaN or infinite')]
)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_no_numbers(tmp_path, value, says, dtype):
    weight = torch.zeros(3, 4, dtype=dtype)
    weight[1, 2] = value
    torch.save(dict(state_dict=dict(a=torch.zeros(2), b=weight)), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=f'1 of 2 weights hold {says} values, the first is b. '):
        read_checkpoint(str(tmp_path / 'a.pth'))


def test_minus_infinity_may_stand_in_a_mask(tmp_path):
    mask = torch.full((3, 3), -torch.inf).triu(1)
    torch.save(
        dict(state_dict=dict(mask=mask, empty=torch.zeros(0), number=torch.ones(1, dtype=int))),
        tmp_path / 'a.pth',
    )
    read_checkpoint(str(tmp_path / 'a.pth'))


def test_a_weight_with_a_flipped_bit_is_noticed_by_its_checksum(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict=dict(a=torch.zeros(1000))), path)
    data = bytearray(path.read_bytes())
    data[data.index(bytes(4000)) + 400] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=r'a.pth. \(load_from\) is damaged: .*/data/0 in it does not have its'
    ):
        read_checkpoint(str(path), 'load_from')


@pytest.mark.skipif(not hasattr(torch.serialization, 'set_crc32_options'), reason='PyTorch before 2.6')
def test_a_file_that_was_saved_without_checksums_is_whole(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(state_dict=dict(a=torch.zeros(1000))), tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert damage_of(str(tmp_path / 'a.pth')) is None
    read_checkpoint(str(tmp_path / 'a.pth'))
