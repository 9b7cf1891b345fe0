"""Probe of tools/doctor.py: are the pretrained weights that configs name here, or can they be fetched?"""

import os
import urllib.request

import torch

from mmattn.checkpoints.pretrained import cached_file, url_of


def probe() -> dict:
    """Look for the weights that configs name; return the cache, what it lacks, and why it stays so."""
    urls = {name: url_of(f'torchvision://{name}') for name in ('resnet18', 'resnet50', 'resnet101')}
    missing = {name: url for name, url in urls.items() if not os.path.isfile(cached_file(url))}
    unreachable = ''
    if missing:
        request = urllib.request.Request(next(iter(missing.values())), method='HEAD')
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except OSError as error:
            unreachable = str(error)
    folder = os.path.join(torch.hub.get_dir(), 'checkpoints')
    return dict(folder=folder, missing=missing, unreachable=unreachable)
