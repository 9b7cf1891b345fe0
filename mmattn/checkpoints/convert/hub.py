"""Load a timm checkpoint by its name: ``checkpoint='timm://seresnet50.a1_in1k'`` in an ``init_cfg``.

The weights have the names of a backbone alone, as those of ``torchvision://resnet50`` have: without a prefix,
and with attention as ``attention.layer1_0_residual...``. ``timm://NAME?plugins`` names it as ``plugins=`` do.
"""

from __future__ import annotations

from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.runner import CheckpointLoader

from mmattn.checkpoints.convert.conversion import FORMS, convert
from mmattn.checkpoints.convert.errors import NotConverted
from mmattn.checkpoints.convert.source_file import read_source
from mmattn.checkpoints.pretrained import cached_file, fetch, url_of

SCHEME = 'timm://'


@CheckpointLoader.register_scheme(prefixes=SCHEME, force=True)
def load_from_timm(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load a timm checkpoint, converted; from the cache, or from the hub.

    Args:
        filename: ``'timm://seresnet50.a1_in1k'``; with ``?plugins`` for blocks by ``plugins=``.
        map_location: Device.

    Raises:
        NotConverted: The model cannot be converted.
        NotFetched: The file is not in the cache, and the hub cannot be reached; the message says which file
            to put where.
    """
    address, _, form = filename.partition('?')
    form = form or FORMS[0]
    if form not in FORMS:
        raise NotConverted(f"{filename}: after '?' stands {' or '.join(FORMS)}")
    path = cached_file(url_of(address))
    if is_main_process():
        fetch(address)
    barrier()
    name = address.removeprefix(SCHEME)
    state = convert(read_source(path), 'timm', name.partition('.')[0]).state(form, prefix='')
    if map_location is not None:
        state = {key: value.to(map_location) for key, value in state.items()}
    return dict(meta=dict(converted_from=name), state_dict=state)
