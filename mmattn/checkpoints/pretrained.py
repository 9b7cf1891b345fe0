"""Find and fetch pretrained weights, and say what to do without a network."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.dist import is_main_process
from mmengine.fileio import load
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from mmattn._private_apis import checkpoint_schemes
from mmattn.checkpoints.timm_hub import file_name, hub_file, timm_url
from mmattn.checkpoints.trust import loaders_wrapped, refuse_code
from mmattn.files import is_disk_full

_TORCHVISION = ('torchvision', 'modelzoo')


class NotFetched(OSError):
    """Pretrained weights that are neither in the cache nor to be had from the network."""

    def __str__(self) -> str:
        return str(self.args[0])


def url_of(address: str) -> str | None:
    """Return the URL of pretrained weights, or ``None`` if ``address`` is a path or in a store.

    Args:
        address: For example ``'torchvision://resnet50'``, which does not need torchvision.

    Raises:
        ValueError: If the address names unknown weights.
    """
    scheme, found, name = address.partition('://')
    if scheme in ('http', 'https'):
        return address
    if scheme in _TORCHVISION:
        urls = _torchvision_urls(name)
    elif scheme in ('open-mmlab', 'openmmlab'):
        urls, name = get_external_models(), get_deprecated_model_names().get(name, name)
    elif scheme == 'mmcls':
        urls = get_mmcls_models()
    elif scheme == 'timm':
        return timm_url(name.partition('?')[0])
    else:
        return None
    if name not in urls:
        more = ''
        if scheme in _TORCHVISION and find_spec('torchvision') is None:
            more = '. Other names, such as resnet50.imagenet1k_v2, need `pip install torchvision`'
        near = ', '.join(get_close_matches(name, urls, cutoff=0))
        raise ValueError(f"'{address}' names no pretrained weights; nearest: {near}{more}")
    return urls[name] if urls[name].startswith(('http://', 'https://')) else None  # of a local model zoo


def _torchvision_urls(name: str) -> dict[str, str]:
    """MMEngine's own table, where it has the name; otherwise the one that it asks torchvision for."""
    urls = load(str(Path(mmengine.__path__[0], 'hub', 'torchvision_0.12.json')))
    return urls if name in urls or find_spec('torchvision') is None else get_torchvision_models()


def cached_file(url: str) -> str:
    """Return the file in the cache of Hugging Face, if it is there, else in PyTorch's, there or not."""
    return hub_file(url) or os.path.join(torch.hub.get_dir(), 'checkpoints', file_name(url))


def fetch(address: str, instead: str = 'init_cfg.checkpoint') -> None:
    """Download pretrained weights into PyTorch's cache, unless they are there.

    Args:
        address: Where from. Nothing is done for a path.
        instead: The config key to set to another file, for the message.

    Raises:
        NotFetched: If they cannot be downloaded.
    """
    url = url_of(address)
    path = url and cached_file(url)
    if not path or os.path.isfile(path):
        return
    digest = torch.hub.HASH_REGEX.search(os.path.basename(path)) if 'download.pytorch.org' in url else None
    print(f'fetching {address}: {url} to {path}', file=sys.stderr, flush=True)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        torch.hub.download_url_to_file(url, path, digest and digest[1], progress=sys.stderr.isatty())
    except (OSError, HTTPException, RuntimeError) as error:
        if is_disk_full(error):
            raise
        raise NotFetched(
            f"the pretrained weights '{address}' are not in the cache, and cannot be fetched: {error}. "
            f"Without a network, download {url} elsewhere and put it there as '{path}' (TORCH_HOME names "
            f'another cache), or name a file that you have: --cfg-options {instead}=FILE. Without any, train '
            'from scratch: docs/train.md says how'
        ) from error


@contextmanager
def load_checkpoints(trust_checkpoint: bool = False) -> Iterator[None]:
    """Load checkpoints in this block as the tools of this package do.

    MMEngine then refuses code (:func:`~mmattn.checkpoints.refuse_code`), finds ``torchvision://`` without
    torchvision, and says what to do where there is no network.
    """
    with refuse_code(trust_checkpoint), loaders_wrapped(_fetching):
        yield


def _fetching(loader: Callable) -> Callable:
    """A loader of MMEngine's for files that are fetched before."""

    @functools.wraps(loader)
    def load(filename: str, map_location: Any = None) -> Any:
        url = url_of(filename)
        if url and is_main_process():  # MMEngine lets the others wait for this one
            fetch(filename)
        if url and filename.partition('://')[0] in _TORCHVISION:  # MMEngine's own imports torchvision
            return checkpoint_schemes()['https://'](url, map_location=map_location)
        return loader(filename, map_location=map_location)

    return load
