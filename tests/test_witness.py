"""What 7b9e8ab wrote and computed, read and computed again; see tests/witness/record.py."""

import pytest
import torch
from mmengine.runner import load_checkpoint

from mmattn.checkpoints import check_insertion, load_adapter, read_adapter
from mmattn.insertion import detach
from tests.witness import record

TOLERANCES = dict(float32=dict(rtol=1e-5, atol=1e-5), float64=dict(rtol=1e-10, atol=1e-10))
LOOSE = dict(rtol=1e-4, atol=1e-4)


@pytest.fixture(scope='module')
def recorded_blocks():
    return torch.load(record.BLOCKS_FILE, weights_only=True)


@pytest.fixture(scope='module')
def recorded_models():
    return torch.load(record.MODELS_FILE, weights_only=True)


def require_close(found, expected, tolerance, where=''):
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key in expected:
            require_close(found[key], expected[key], tolerance, f'{where}/{key}')
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, (one, other) in enumerate(zip(found, expected)):
            require_close(one, other, tolerance, f'{where}/{i}')
    elif isinstance(expected, torch.Tensor):
        # Processors differ in the order of sums, which rounds each entry by the size of the largest.
        largest = expected.abs().max().item() if expected.numel() and expected.is_floating_point() else 1
        atol = tolerance['atol'] * max(1, largest)
        torch.testing.assert_close(
            found, expected, rtol=tolerance['rtol'], atol=atol, msg=lambda text: f'{where}: {text}'
        )
    else:
        assert found == pytest.approx(expected, rel=tolerance['rtol'] * 10, abs=tolerance['atol'] * 10), where


def require_same_run(found, expected, dtype):
    """Gradients in float32 jump where a rounding moves a maximum: their tolerance is wider."""
    assert found.keys() == expected.keys()
    for key in expected:
        loose = key == 'gradients' and dtype == 'float32'
        require_close(found[key], expected[key], LOOSE if loose else TOLERANCES[dtype], f'/{key}')


def load(model, state_dict):
    """Strictly, with the same keys in the same order."""
    assert list(model.state_dict()) == list(state_dict)
    model.load_state_dict(state_dict)
    return model


@pytest.mark.parametrize('dtype', TOLERANCES)
@pytest.mark.parametrize('start', ['paper', 'identity'])
@pytest.mark.parametrize('name', record.BLOCKS)
def test_block_loads_and_computes_the_same(name, start, dtype, recorded_blocks):
    expected = recorded_blocks['blocks'][name, start]
    block = load(record.build_block(name, start), expected['state_dict']).to(record.DTYPES[dtype])
    x, dy = (recorded_blocks[key].to(record.DTYPES[dtype]) for key in ('x', 'dy'))
    found = record.run_block(block, x, dy)
    require_close(found, expected[dtype], TOLERANCES[dtype])
    if start == 'identity' and name != 'SKConv':  # which starts as the convolution it stands for
        assert found['y'].equal(x)


@pytest.mark.parametrize('dtype', TOLERANCES)
@pytest.mark.parametrize('name', record.INSERTS)
def test_detector_loads_and_computes_the_same(name, dtype, recorded_models):
    expected = recorded_models['models'][name]
    model = load(record.build_detector(name, record.INSERTS[name]), expected['state_dict'])
    model.to(record.DTYPES[dtype])
    image = recorded_models['image'].to(record.DTYPES[dtype])
    found = record.run_detector(model, image)
    require_same_run(found, expected[dtype], dtype)
    if name.endswith('identity'):
        stock = record.build_detector(name, None).to(record.DTYPES[dtype])
        stock.load_state_dict(detach(model).state_dict())
        for one, other in zip(record.run_detector(stock, image)['maps'], found['maps'], strict=True):
            assert one.equal(other)


@pytest.mark.parametrize('name', record.INSERTS)
def test_detector_trains_the_same(name, recorded_models):
    expected = recorded_models['models'][name]
    model = load(record.build_detector(name, record.INSERTS[name]), expected['state_dict'])
    assert record.train_detector(model) == pytest.approx(expected['losses'], rel=1e-4)


def test_checkpoint_holds_the_insertion_and_loads(recorded_models):
    insert = record.INSERTS['retinanet_cbam']
    model = record.build_detector('retinanet_cbam', insert)
    checkpoint = torch.load(record.CHECKPOINT, weights_only=True)
    assert check_insertion(model, checkpoint)
    load(model, checkpoint['state_dict'])
    load_checkpoint(model, str(record.CHECKPOINT), strict=True)
    found = record.run_detector(model, recorded_models['image'])
    require_same_run(found, recorded_models['models']['retinanet_cbam']['float32'], 'float32')


def test_adapter_turns_the_stock_detector_into_the_one_with_attention(recorded_models):
    expected = recorded_models['models']['retinanet_cbam']
    stock = record.build_detector('retinanet_cbam', None)
    stock.load_state_dict(
        {key: value for key, value in expected['state_dict'].items() if not key.startswith('attention.')}
    )
    adapter = read_adapter(record.ADAPTER)
    model = load_adapter(stock, record.ADAPTER)
    assert [entry['at'] for entry in adapter.spec['insert']] == [site.name for site in model.attention.claims]
    found = record.run_detector(model, recorded_models['image'])
    require_same_run(found, expected['float32'], 'float32')
