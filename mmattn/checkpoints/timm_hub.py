"""Where timm's weights are: the address of a model's file, and the cache in which timm puts it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlparse

_FILE = 'https://huggingface.co/timm/{}/resolve/main/model.safetensors'
_IN_A_REPOSITORY = re.compile(r'/([^/]+)/([^/]+)/resolve/[^/]+/[^/]+(\.[a-z]+)')


def timm_url(name: str) -> str:
    """Return the URL of the weights that timm calls ``name``, such as ``'seresnet50.a1_in1k'``.

    Raises:
        ValueError: The model cannot be converted, or the tag after the point is missing.
    """
    from mmattn.checkpoints.convert.models import named_model  # late: it is a part of what asks here

    model, _, tag = name.partition('.')
    known = named_model(('timm',), model)
    known.require_mappable()
    if not re.fullmatch(r'\w[\w-]*', tag):
        tags = ', '.join(f'{model}.{each}' for each in known.weights) or 'none that is known'
        raise ValueError(f"'timm://{name}' lacks the tag of its weights. timm has {tags}")
    return _FILE.format(name)


def file_name(url: str) -> str:
    """Return the name of the file in the cache; files of repositories are all called alike.

    Example:
        >>> file_name('https://huggingface.co/timm/seresnet50.a1_in1k/resolve/main/model.safetensors')
        'seresnet50.a1_in1k.safetensors'
        >>> file_name('https://download.pytorch.org/models/resnet50-19c8e357.pth')
        'resnet50-19c8e357.pth'
    """
    path = urlparse(url).path
    found = _IN_A_REPOSITORY.fullmatch(path)
    return found[2] + found[3] if found else os.path.basename(path)


def hub_file(url: str) -> str | None:
    """Return a repository's file in Hugging Face's cache, where timm puts it; None if it is not there."""
    found = _IN_A_REPOSITORY.fullmatch(urlparse(url).path)
    if found is None:
        return None
    home = os.environ.get('HF_HOME') or os.path.join(
        os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'huggingface'
    )
    cache = Path(os.environ.get('HF_HUB_CACHE') or os.path.join(home, 'hub'))
    snapshots = cache / f'models--{found[1]}--{found[2]}' / 'snapshots'
    files = sorted(snapshots.glob(f'*/{os.path.basename(urlparse(url).path)}'), key=os.path.getmtime)
    return str(files[-1]) if files else None
