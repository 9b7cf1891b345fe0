"""Adapters: attention alone, to the last bit, and for one detector only."""

import copy
import json
import os
import struct

import pytest
import torch
from mmdet.models import ResNet
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import save_checkpoint
from safetensors.torch import load_file, save_file
from torch import nn

from mmattn import attach
from mmattn.checkpoints import (
    DamagedAdapter,
    NewerAdapter,
    WrongBase,
    WrongSpec,
    adapter_of_checkpoint,
    check_base,
    load_adapter,
    merge_adapter,
    read_adapter,
    save_adapter,
    write_adapter,
)
from tests.test_insertion.models import build, features, model_cfg, narrow

RULES = [
    dict(at='backbone.layer[34].*.residual', block=dict(type='mmattn.CBAM', start='identity')),
    dict(at='neck.output', block=dict(type='mmattn.ECA'), order=1),
    dict(at='neck.fpn_convs.0', block=dict(type='mmattn.SE', start='paper')),
]
META = dict(epoch=7, dataset_meta=dict(classes=('a',)))


def detector(rules=None, seed=0, **more):
    cfg = narrow(model_cfg('RetinaNet', insert=rules, frozen_stages=-1, norm_eval=False))
    cfg.update(more)
    return build(cfg, seed)


def backbone():
    return ResNet(18, base_channels=16, stem_channels=16)


def outputs(model):
    with torch.no_grad():
        model.eval()
        return [tensor for level in model.bbox_head(features(model)) for tensor in level]


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Files of a detector and of its adapter, the attended detector after some steps, its checkpoint."""
    folder = tmp_path_factory.mktemp('trained')
    stock = detector(seed=1)
    stock.train()
    features(stock)  # statistics as of a trained detector
    save_checkpoint(dict(state_dict=stock.state_dict(), meta=META), str(folder / 'stock.pth'))
    model = detector(RULES, seed=2, freeze_detector=True)
    load_checkpoint(model, str(folder / 'stock.pth'))
    model.train()
    step = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05, momentum=0.9)
    for seed in range(3):
        step.zero_grad()
        sum(f.square().mean() for f in features(model, seed=seed)).backward()
        step.step()
    save_checkpoint(dict(state_dict=model.state_dict(), meta={}), str(folder / 'full.pth'))
    save_adapter(model, folder / 'adapter.safetensors')
    return folder, model


@pytest.fixture
def stock(trained):
    model = detector()
    load_checkpoint(model, str(trained[0] / 'stock.pth'))
    return model


def test_a_stock_detector_with_the_adapter_is_the_detector_with_attention(trained, stock):
    folder, model = trained
    before = outputs(stock)
    assert load_adapter(stock, folder / 'adapter.safetensors') is stock
    full = detector(RULES)
    load_checkpoint(full, str(folder / 'full.pth'))
    expected, found = full.state_dict(), stock.state_dict()
    assert list(found) == list(expected) and all(v.equal(expected[k]) for k, v in found.items())
    found = outputs(stock)
    assert all(a.equal(b) for a, b in zip(found, outputs(full), strict=True))
    assert not any(a.equal(b) for a, b in zip(found, before, strict=True))


def test_a_detector_with_attention_takes_the_adapter_too(trained, stock):
    folder, model = trained
    other = detector(RULES, seed=5)
    load_checkpoint(other, str(folder / 'stock.pth'))
    load_adapter(other, folder / 'adapter.safetensors')
    assert all(v.equal(model.state_dict()[k]) for k, v in other.state_dict().items())


def test_the_file_holds_attention_and_says_what_it_is(trained):
    folder, model = trained
    tensors = load_file(folder / 'adapter.safetensors')
    assert set(tensors) == {
        key for key in model.state_dict() if key.startswith('attention.') and key != 'attention._extra_state'
    }
    adapter = read_adapter(folder / 'adapter.safetensors')
    assert adapter.spec == model.attention.spec
    assert adapter.versions['torch'] == torch.__version__ and 'mmattn' in adapter.versions
    buffers = sum(b.numel() for b in model.attention.buffers() if b.is_floating_point())
    assert adapter.numel == sum(p.numel() for p in model.attention.parameters()) + buffers
    # So small because the detector is not in it.
    assert (folder / 'adapter.safetensors').stat().st_size < (folder / 'full.pth').stat().st_size / 20


def test_saving_again_gives_the_same_bytes(trained, stock, tmp_path):
    folder, model = trained
    expected = (folder / 'adapter.safetensors').read_bytes()
    load_adapter(stock, folder / 'adapter.safetensors')
    save_adapter(stock, tmp_path / 'again.safetensors')
    assert (tmp_path / 'again.safetensors').read_bytes() == expected
    write_adapter(adapter_of_checkpoint(torch.load(folder / 'full.pth')), tmp_path / 'b.safetensors')
    assert (tmp_path / 'b.safetensors').read_bytes() == expected
    save_adapter(copy.deepcopy(stock).to(memory_format=torch.channels_last), tmp_path / 'c.safetensors')
    assert (tmp_path / 'c.safetensors').read_bytes() == expected


def test_a_merged_checkpoint_is_the_full_one(trained, tmp_path):
    folder, model = trained
    merge_adapter(str(folder / 'stock.pth'), folder / 'adapter.safetensors', tmp_path / 'merged.pth')
    merged = torch.load(tmp_path / 'merged.pth', weights_only=True)
    assert merged['meta'] == META
    expected = torch.load(folder / 'full.pth')['state_dict']
    assert merged['state_dict'].keys() == expected.keys()
    assert all(v.equal(expected[k]) for k, v in merged['state_dict'].items())


def test_a_checkpoint_with_a_moving_average_gives_what_is_loaded_for_testing(trained):
    folder, model = trained
    full = torch.load(folder / 'full.pth')
    ema = {f'module.{key}': torch.zeros_like(value) for key, value in full['state_dict'].items()}
    found = adapter_of_checkpoint(dict(full, ema_state_dict=ema))
    assert all(value.equal(full['state_dict'][key]) for key, value in found.weights.items())
    # And one of a distributed model, which has a prefix.
    prefixed = dict(state_dict={f'module.{key}': value for key, value in full['state_dict'].items()})
    assert adapter_of_checkpoint(prefixed).base == found.base


@pytest.mark.parametrize(
    'change, text',
    [
        (
            lambda s: s['backbone.conv1.weight'].view(-1)[:1].mul_(1 + 2**-20),
            r'1 of \d+ tensors with other values \(backbone.conv1.weight\)',
        ),
        (
            lambda s: s['backbone.bn1.running_mean'].add_(1),
            r'1 of \d+ tensors with other values \(backbone.bn1.running_mean\)',
        ),
        (lambda s: s.pop('backbone.conv1.weight'), r'1 tensor missing \(backbone.conv1.weight\)'),
        (lambda s: s.update(extra=torch.zeros(1)), r'1 tensor unexpected \(extra\)'),
        (
            lambda s: s.update({'bbox_head.retina_cls.bias': torch.zeros(3)}),
            r'1 tensor of another type or shape '
            r'\(bbox_head.retina_cls.bias: float32 3 instead of float32 720\)',
        ),
        (
            lambda s: s.update({k: v.half() for k, v in s.items() if v.is_floating_point()}),
            r'\d+ tensors of another type or shape '
            r'\(backbone.bn1.bias: float16 16 instead of float32 16, ...\)',
        ),
    ],
)
def test_another_base_is_refused_and_what_differs_named(trained, tmp_path, change, text):
    folder, model = trained
    checkpoint = torch.load(folder / 'stock.pth')
    change(checkpoint['state_dict'])
    torch.save(checkpoint, tmp_path / 'other.pth')
    with pytest.raises(WrongBase, match=f"weights of '.*other.pth' are not those.*sha256 .*: {text}"):
        check_base(str(tmp_path / 'other.pth'), folder / 'adapter.safetensors')
    with pytest.raises(WrongBase, match=text):
        merge_adapter(str(tmp_path / 'other.pth'), folder / 'adapter.safetensors', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()
    check_base(str(folder / 'stock.pth'), folder / 'adapter.safetensors')


def test_a_wrong_base_leaves_the_model_as_it_was(trained):
    model = detector(seed=3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model_class = type(model)
    with pytest.raises(WrongBase, match='the weights of the model are not those .* with other values'):
        load_adapter(model, trained[0] / 'adapter.safetensors')
    assert type(model) is model_class and not hasattr(model, 'attention')
    assert all(v.equal(before[k]) for k, v in model.state_dict().items())


def test_another_insertion_is_refused(trained):
    rules = copy.deepcopy(RULES)
    rules[0]['block']['start'] = 'paper'
    model = detector(rules)
    load_checkpoint(model, str(trained[0] / 'stock.pth'))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(
        WrongSpec,
        match=r"at 4 sites .* the adapter has dict\(type='mmattn.CBAM', "
        r"start='identity'\), the model has dict\(type='mmattn.CBAM', start='paper'\)",
    ):
        load_adapter(model, trained[0] / 'adapter.safetensors')
    assert all(v.equal(before[k]) for k, v in model.state_dict().items())


def test_a_detector_that_was_trained_too_is_no_adapter(trained):
    folder = trained[0]
    full, base = (torch.load(folder / name) for name in ('full.pth', 'stock.pth'))
    assert adapter_of_checkpoint(full, base).spec
    full['state_dict']['bbox_head.retina_cls.bias'] += 1
    with pytest.raises(WrongBase, match='so not only attention was trained: 1 of .*retina_cls.bias'):
        adapter_of_checkpoint(full, base)


def rewritten(folder, change):
    """The adapter's bytes with changed metadata."""
    data = (folder / 'adapter.safetensors').read_bytes()
    (size,) = struct.unpack('<Q', data[:8])
    header = json.loads(data[8 : 8 + size])
    change(header['__metadata__'])
    new = json.dumps(header).encode()
    return struct.pack('<Q', len(new)) + new + data[8 + size :]


def entry(**values):
    def change(metadata):
        content = {**json.loads(metadata['mmattn_adapter']), **values}
        metadata['mmattn_adapter'] = json.dumps(content)

    return change


def start_paper(metadata):
    metadata['mmattn_adapter'] = metadata['mmattn_adapter'].replace('identity', 'paper')


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    'error, make, text',
    [
        (DamagedAdapter, lambda f, data: data[:-100], 'is damaged, or not a safetensors file'),
        (DamagedAdapter, lambda f, data: b'', 'is damaged, or not a safetensors file'),
        (
            DamagedAdapter,
            lambda f, data: (f / 'stock.pth').read_bytes(),
            'is damaged, or not a safetensors file',
        ),
        (
            DamagedAdapter,
            lambda f, data: flipped(data, len(data) - 7),
            r'does not hold the weights that were saved: 1 of \d+ tensors with other values',
        ),
        (
            DamagedAdapter,
            lambda f, data: rewritten(f, lambda m: m.clear()),
            'but not an adapter: its metadata has no entry',
        ),
        (
            DamagedAdapter,
            lambda f, data: rewritten(f, lambda m: m.update(mmattn_adapter='{')),
            'its metadata cannot be read',
        ),
        (
            DamagedAdapter,
            lambda f, data: rewritten(f, entry(spec=dict(format=1))),
            r'its metadata cannot be read \(its insertion spec cannot be read\)',
        ),
        (
            DamagedAdapter,
            lambda f, data: rewritten(f, entry(weights={})),
            r'\d+ tensors unexpected \(attention',
        ),
        (
            DamagedAdapter,
            lambda f, data: rewritten(f, start_paper),
            'its spec or the fingerprint .* was changed',
        ),
        (
            NewerAdapter,
            lambda f, data: rewritten(f, entry(format=2)),
            'has adapter format 2, .* update mmattn',
        ),
    ],
)
def test_a_damaged_file_is_refused(trained, stock, tmp_path, error, make, text):
    folder = trained[0]
    bad = tmp_path / 'bad.safetensors'
    bad.write_bytes(make(folder, (folder / 'adapter.safetensors').read_bytes()))
    for use in (read_adapter, lambda path: load_adapter(stock, path)):
        with pytest.raises(error, match=text):
            use(bad)
    assert not hasattr(stock, 'attention')


def test_a_file_lacking_a_tensor_is_refused(trained, tmp_path):
    from safetensors import safe_open

    path = trained[0] / 'adapter.safetensors'
    with safe_open(path, 'pt') as file:
        metadata = file.metadata()
    tensors = load_file(path)
    name = sorted(tensors)[0]
    del tensors[name]
    save_file(tensors, tmp_path / 'bad.safetensors', metadata)
    with pytest.raises(DamagedAdapter, match=rf'1 tensor missing \({name}\)'):
        read_adapter(tmp_path / 'bad.safetensors')


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = attach(backbone(), [dict(at='layer4', block=dict(type='mmattn.SE'))])
    nn.init.constant_(model.attention['layer4'].fc1.bias, float('nan'))
    save_adapter(model, tmp_path / 'nan.safetensors')
    with pytest.raises(DamagedAdapter, match='NaN or infinite values, the first in .*layer4.fc1.bias'):
        read_adapter(tmp_path / 'nan.safetensors')


def test_nothing_is_overwritten_by_accident_nor_left_half_written(trained, tmp_path, monkeypatch):
    folder, model = trained
    path = tmp_path / 'a.safetensors'
    path.write_bytes(b'precious')
    with pytest.raises(FileExistsError, match=r"a.safetensors' exists already: .*overwrite=True"):
        save_adapter(model, path)
    with pytest.raises(FileExistsError):
        merge_adapter(str(folder / 'stock.pth'), folder / 'adapter.safetensors', path)
    monkeypatch.setattr(torch, 'save', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        merge_adapter(str(folder / 'stock.pth'), folder / 'adapter.safetensors', path, overwrite=True)
    assert path.read_bytes() == b'precious' and os.listdir(tmp_path) == ['a.safetensors']
    save_adapter(model, path, overwrite=True)
    assert read_adapter(path).spec == model.attention.spec


def test_what_has_no_adapter_is_said(trained, tmp_path):
    folder, model = trained
    with pytest.raises(ValueError, match='RetinaNet has no attention to save$'):
        save_adapter(detector(), tmp_path / 'x')
    holder = nn.Module()
    holder.inner = copy.deepcopy(model)
    with pytest.raises(
        ValueError, match="no attention to save; its part 'inner' has attention: pass that part"
    ):
        save_adapter(holder, tmp_path / 'x')
    with pytest.raises(ValueError, match='the checkpoint has no attention to save'):
        adapter_of_checkpoint(torch.load(folder / 'stock.pth'))
    state = torch.load(folder / 'full.pth')['state_dict']
    del state['attention._extra_state']
    with pytest.raises(ValueError, match='but no insertion spec: load it into its model'):
        adapter_of_checkpoint(state)
    with pytest.raises(WrongBase, match='has attention already; merge the adapter with'):
        merge_adapter(str(folder / 'full.pth'), folder / 'adapter.safetensors', tmp_path / 'x')
    with pytest.raises(FileNotFoundError, match="no adapter file 'nowhere'"):
        read_adapter('nowhere')
    with pytest.raises(FileNotFoundError, match="no checkpoint file 'nowhere'"):
        check_base('nowhere', folder / 'adapter.safetensors')
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_recorded_is_not_saved(tmp_path):
    class Local(nn.Identity):
        def __init__(self, in_channels):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

    model = attach(backbone(), [dict(at='layer4', block=dict(type=Local))])
    with pytest.raises(ValueError, match='cannot be recorded'):
        save_adapter(model, tmp_path / 'x')
