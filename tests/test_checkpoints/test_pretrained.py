"""Pretrained weights are found without torchvision, and without a network the message says what to do."""

import http.server
import re
import threading
from importlib.util import find_spec

import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmattn.checkpoints import load_checkpoints
from mmattn.checkpoints.pretrained import NotFetched, cached_file, fetch, url_of

R18 = 'https://download.pytorch.org/models/resnet18-f37072fd.pth'


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'):
        monkeypatch.setenv(name, 'http://127.0.0.1:9')


def test_addresses():
    assert url_of('torchvision://resnet18') == url_of('modelzoo://resnet18') == R18
    assert url_of('open-mmlab://resnext101_32x4d').endswith('resnext101_32x4d-a5af3160.pth')
    assert url_of('mmcls://resnet50').startswith('https://')
    assert url_of(R18) == R18
    assert url_of('a.pth') is url_of('s3://bucket/a.pth') is None


@pytest.mark.skipif(find_spec('torchvision') is not None, reason='torchvision is installed and asked')
def test_an_unknown_name_says_which_are_near_and_what_torchvision_has():
    with pytest.raises(ValueError, match='torchvision://resnet19.*: resnet18, .*pip install torchvision'):
        url_of('torchvision://resnet19')
    with pytest.raises(ValueError, match='resnest5. names no pretrained weights; nearest: resnest50'):
        url_of('open-mmlab://resnest5')


@pytest.mark.parametrize('address', ['torchvision://resnet18', 'modelzoo://resnet18', R18])
def test_weights_in_the_cache_need_neither_torchvision_nor_a_network(address, tmp_path):
    path = tmp_path / 'hub' / 'checkpoints' / 'resnet18-f37072fd.pth'
    assert cached_file(R18) == str(path)
    path.parent.mkdir(parents=True)
    torch.save({'conv1.weight': torch.ones(2)}, path)
    with load_checkpoints():
        found = CheckpointLoader.load_checkpoint(address, 'cpu')
    assert found['conv1.weight'].equal(torch.ones(2))


@pytest.mark.parametrize(
    'address', ['torchvision://resnet18', 'open-mmlab://resnest50', 'https://a.bc/d.pth']
)
def test_without_a_network_the_message_names_the_file_and_where_to_put_it(address, tmp_path):
    with load_checkpoints(), pytest.raises(NotFetched) as error:
        CheckpointLoader.load_checkpoint(address, 'cpu')
    said, url = str(error.value), url_of(address)
    assert address in said and f"download {url} elsewhere and put it there as '{cached_file(url)}'" in said
    assert 'refused' in said and '--cfg-options init_cfg.checkpoint=FILE' in said
    with pytest.raises(NotFetched, match='--cfg-options model.x.checkpoint=FILE'):
        fetch(address, 'model.x.checkpoint')
    fetch('a.pth')  # a path: nothing to do


def test_a_file_that_is_fetched_is_whole_or_absent(tmp_path, monkeypatch):
    (tmp_path / 'site').mkdir()
    torch.save({'a': torch.ones(2)}, tmp_path / 'site' / 'good.pth')
    monkeypatch.setenv('no_proxy', '127.0.0.1')

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / 'site'))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}'
        with load_checkpoints():
            assert CheckpointLoader.load_checkpoint(f'{address}/good.pth', 'cpu')['a'].equal(torch.ones(2))
            with pytest.raises(NotFetched, match=re.escape(f'{address}/none.pth') + '.*404'):
                CheckpointLoader.load_checkpoint(f'{address}/none.pth', 'cpu')
        server.shutdown()
    assert [path.name for path in (tmp_path / 'hub' / 'checkpoints').iterdir()] == ['good.pth']
