"""A checkpoint that runs code is refused by name, in every format; one that MMEngine wrote loads."""

import io
import os
import pickle
import re
import tarfile
from argparse import Namespace
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner.checkpoint import get_external_models, get_mmcls_models
from torch import nn

from mmattn.checkpoints import UntrustedCheckpoint, refuse_code, require_no_code

from . import attacks


@pytest.fixture
def load(tmp_path):
    """Load bytes as MMEngine does, in a block that refuses code."""

    def load(data, trust=False):
        path = tmp_path / 'it.pth'
        path.write_bytes(data)
        with refuse_code(trust):
            return CheckpointLoader.load_checkpoint(str(path), 'cpu')

    return load


def _ran(tmp_path):
    """Whether the attack ran, which is undone."""
    marker = tmp_path / 'marker'
    ran = marker.exists()
    marker.unlink(missing_ok=True)
    return ran


def _refused(load, data, tmp_path):
    with pytest.raises(ValueError) as error:
        load(data)
    assert not _ran(tmp_path)
    path = tmp_path / 'it.pth'
    with pytest.raises(ValueError):
        require_no_code(path)
    assert str(path) in str(error.value)
    return str(error.value)


NAMES = {
    'system': 'posix.system',
    'eval': 'builtins.eval',
    'exec': 'builtins.exec',
    'Popen': 'subprocess.run',
    'run_path': 'runpy.run_path',
    'partial': 'functools.partial, posix.system',
    'map': 'builtins.list, builtins.map, posix.system',
    'loads': 'pickle.loads',
    'torch.load': 'functools.partial, torch.serialization.load',
    'torch.hub': 'functools.partial, torch.hub.load',
    'numpy.load': 'functools.partial, numpy.load',
    'in an OrderedDict': 'posix.system',
}


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('name', NAMES)
def test_what_runs_code_is_refused_by_name(name, legacy, load, tmp_path):
    attack = attacks.objects(tmp_path)[name]
    checkpoint = dict(meta={}, state_dict=OrderedDict(a=torch.zeros(2), b=attack))
    for protocol in (0, 1, 2, 4, 5):
        said = _refused(load, attacks.saved(checkpoint, legacy, protocol), tmp_path)
        assert NAMES[name] in said and '--trust-checkpoint' in said, protocol


@pytest.mark.filterwarnings('ignore')
def test_the_attacks_are_some(load, tmp_path, warnings):
    for name, attack in attacks.objects(tmp_path).items():
        load(attacks.saved(attack), trust=True)
        assert _ran(tmp_path), name
    assert 'posix.system' in warnings[0] and 'loaded as a program' in warnings[0]
    for name, pickled in attacks.pickles(tmp_path).items():
        for wrapped in (attacks.as_zip(pickled), attacks.as_legacy(pickled)):
            try:
                torch.load(io.BytesIO(wrapped), weights_only=False)
            except Exception:
                pass  # what it returns is no checkpoint
            assert _ran(tmp_path) or name == 'after a whole pickle', name


@pytest.mark.parametrize('wrap', [attacks.as_zip, attacks.as_legacy])
def test_names_hidden_by_hand_are_refused(wrap, load, tmp_path):
    for name, pickled in attacks.pickles(tmp_path).items():
        if name == 'after a whole pickle' and wrap is attacks.as_zip:
            continue  # read to its first end, here as by PyTorch
        said = _refused(load, wrap(pickled), tmp_path)
        assert 'posix.system' in said or '__import__' in said, (name, said)


def test_a_computed_name_and_an_extension_are_refused(load, tmp_path):
    computed = b'\x80\x04\x8c\x05posix}\x93)R.'
    assert 'a name that the file computes' in _refused(load, attacks.as_zip(computed), tmp_path)
    assert 'extension 7' in _refused(load, attacks.as_zip(b'\x80\x02\x82\x07)R.'), tmp_path)


def test_an_archive_that_two_readers_read_differently_is_refused(load, tmp_path):
    good, bad = pickle.dumps({}, 2), attacks.pickles(tmp_path)['GLOBAL']
    for first, second in ((good, bad), (bad, good)):
        with pytest.warns(UserWarning, match='Duplicate name'):
            data = attacks.zip_with_two(first, second)
        assert "two entries of the name 'archive/data.pkl'" in _refused(load, data, tmp_path)
    # a pickle that is an archive, too: PyTorch goes by the first bytes
    assert 'posix.system' in _refused(load, attacks.as_legacy(bad) + attacks.as_zip(good), tmp_path)


def test_what_is_no_checkpoint_is_refused(load, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        info = tarfile.TarInfo('../../evil')
        info.size = 1
        archive.addfile(info, io.BytesIO(b'x'))
    assert 'tar archive' in _refused(load, buffer.getvalue(), tmp_path)
    scripted = attacks.as_zip(pickle.dumps({}, 2), {'archive/constants.pkl': pickle.dumps((), 2)})
    assert 'TorchScript' in _refused(load, scripted, tmp_path)
    whole = attacks.saved(dict(state_dict={'a': torch.zeros(1000)}))
    for data in (b'', b'\x00' * 2000, b'GIF89a', whole[:-100], whole[:30], os.urandom(3000)):
        assert 'cannot be read as a checkpoint' in _refused(load, data, tmp_path)


def test_getattr_reaches_no_more_than_the_statistics(load, tmp_path):
    history = b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
    for name in (b'__init__', b'_set_default_statistics', b'nothing'):
        pickled = b'\x80\x02cbuiltins\ngetattr\n' + history + b'X' + len(name).to_bytes(4, 'little') + name
        with pytest.raises(UntrustedCheckpoint, match=f"asks for the attribute '{name.decode()}'"):
            load(attacks.as_zip(pickled + b'\x86R.'))


def test_no_array_of_objects_is_made_from_bytes(load):
    """A dtype whose state says that objects are numbers: the bytes would be taken for addresses."""
    for descriptor in (b'O8', b'O', b'V8', b'i4,i4'):
        pickled = (
            b'\x80\x02cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85c_codecs\nencode\n'
            b'X\x01\x00\x00\x00bX\x06\x00\x00\x00latin1\x86R\x87R(K\x01K\x01\x85cnumpy\ndtype\nX'
            + len(descriptor).to_bytes(4, 'little')
            + descriptor
            + b'\x89\x88\x87R(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89'
            b'c_codecs\nencode\nX\x08\x00\x00\x00AAAAAAAAX\x06\x00\x00\x00latin1\x86Rtb.'
        )
        with pytest.raises(UntrustedCheckpoint, match='holds more than numbers'):
            load(attacks.as_zip(pickled))


def test_weights_in_another_protocol_say_so(load, tmp_path):
    assert 'another protocol than 2' in _refused_by_loading(
        load, attacks.saved({'a': torch.zeros(1)}, protocol=4)
    )


def _refused_by_loading(load, data):
    with pytest.raises(UntrustedCheckpoint) as error:
        load(data)
    return str(error.value)


def _same(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            _same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            _same(a, b)
    elif isinstance(one, torch.Tensor) and one.is_sparse:
        _same(one.to_dense(), other.to_dense())
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and one.equal(other) and one.requires_grad == other.requires_grad
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape and (one == other).all()
        assert one.flags.writeable and one.flags.f_contiguous == other.flags.f_contiguous
    elif isinstance(one, (HistoryBuffer, Namespace)):
        _same(vars(one), vars(other))
    else:
        assert one == other


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_data_is_the_same_to_the_last_bit(load, legacy):
    shared = [1, 2]
    data = dict(
        state_dict=OrderedDict(
            a=torch.rand(3, 4)[:, 1:],
            b=nn.Parameter(torch.rand(2)),
            c=torch.arange(5, dtype=torch.uint8),
            d=torch.rand(2, dtype=torch.bfloat16),
            e=torch.rand(3).to_sparse(),
        ),
        meta=ConfigDict(
            classes=('a', 'b'),
            palette=[(1, 2, 3)],
            time=np.float64(3.5),
            flag=np.bool_(True),
            table=np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3)),
            names=np.array(['x', 'yy']),
            empty=np.zeros((0, 3), np.float16),
            when=np.datetime64('2020-01-01'),
            nested=(np.zeros(2), {'k': np.ones(1)}),
        ),
        message_hub=dict(log_scalars=OrderedDict(loss=HistoryBuffer([1.5, 2.5], [1, 1]))),
        args=Namespace(lr=0.1, steps=[1, 2], rate=np.float32(0.5), more=np.arange(3)),
        odd=[
            {1, 2},
            frozenset('a'),
            2j,
            bytearray(b'x'),
            b'bytes',
            slice(1, 2),
            None,
            2**70,
            -1,
            shared,
            shared,
        ],
    )
    found = load(attacks.saved(data, legacy))
    _same(found, torch.load(io.BytesIO(attacks.saved(data, legacy)), weights_only=False))
    assert found['odd'][-1] is found['odd'][-2]
    assert found['message_hub']['log_scalars']['loss'].statistics('mean') == 2


def test_the_config_that_mmengine_runs_when_it_resumes_is_left_out(load, tmp_path):
    program = f'open({str(tmp_path / "marker")!r}, "w")'
    assert load(attacks.saved(dict(meta=dict(epoch=1, config=program), state_dict={})))['meta'] == dict(
        epoch=1
    )


class _Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))

    def forward(self, inputs, mode='tensor'):
        out = self.layer(torch.stack(list(inputs))).square().mean()
        return dict(loss=out) if mode == 'loss' else out


def _runner(work_dir, epochs, **more):
    return Runner(
        _Toy(),
        str(work_dir),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.rand(2)) for _ in range(8)],
            batch_size=4,
            sampler=dict(type='DefaultSampler', shuffle=True),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1), clip_grad=dict(max_norm=1.0)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
            dict(type='MultiStepLR', milestones=[1, 2], by_epoch=True),
            dict(type='CosineAnnealingMomentum', T_max=3),
        ],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        experiment_name=f'trust-{work_dir.name}-{epochs}-{len(more)}',
        **more,
    )


def test_a_whole_run_of_mmengine_is_resumed_by_it(tmp_path):
    """Moving average, state of the optimizer, schedulers, histories of the log."""
    hooks = [EMAHook()]
    with refuse_code():
        _runner(tmp_path / 'a', 1, custom_hooks=hooks).train()
        path = str(tmp_path / 'a' / 'epoch_1.pth')
        require_no_code(path)
        found = CheckpointLoader.load_checkpoint(path, 'cpu')
        _same(found, torch.load(path, weights_only=False))
        assert (
            found['optimizer']['state'] and found['message_hub']['log_scalars'] and found['param_schedulers']
        )
        assert 'ema_state_dict' in found
        runner = _runner(tmp_path / 'b', 2, custom_hooks=[EMAHook()], load_from=path, resume=True)
        runner.train()
    assert runner.epoch == 2


def test_what_was_before_is_restored(tmp_path):
    before = dict(CheckpointLoader._schemes), torch.load, torch.serialization.get_safe_globals()
    with refuse_code(), refuse_code():
        with refuse_code(trust=True):
            pass
        with pytest.raises(FileNotFoundError):
            CheckpointLoader.load_checkpoint(str(tmp_path / 'none.pth'), 'cpu')
    assert (dict(CheckpointLoader._schemes), torch.load, torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize('scheme', ['open-mmlab', 'mmcls', 'https'])
def test_downloaded_files_are_looked_at(scheme, tmp_path, monkeypatch):
    tables = {'open-mmlab': get_external_models, 'mmcls': get_mmcls_models, 'https': dict}
    key, url = next(iter(tables[scheme]().items()), ('a.bc/it.pth', 'it.pth'))
    address, name = f'{scheme}://{key}', os.path.basename(url)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    cache = tmp_path / 'hub' / 'checkpoints'
    cache.mkdir(parents=True)
    marker = attacks.evil_checkpoint(cache / name)
    with refuse_code(), pytest.raises(UntrustedCheckpoint, match=re.escape(f"'{address}'")):
        CheckpointLoader.load_checkpoint(address, 'cpu')
    assert not marker.exists()
