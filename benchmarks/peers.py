"""Build the same blocks from other packages, if these are installed, to compare their speed with ours."""

import importlib
import importlib.util
import sys
import types
from unittest import mock


def timm(block, channels):
    """Return timm's ``SEModule``, ``EcaModule`` or ``CbamModule``; ``None`` if timm is not installed."""
    file, name = dict(
        SE=('squeeze_excite', 'SEModule'), ECA=('eca', 'EcaModule'), CBAM=('cbam', 'CbamModule')
    ).get(block, (None, None))
    spec = importlib.util.find_spec('timm')
    if file is None or spec is None:
        return None
    # The layers alone: timm itself imports torchvision, which has no build for some versions of PyTorch.
    root = spec.submodule_search_locations[0]
    stubs = {
        each: types.ModuleType(each)
        for each in ('timm', 'timm.layers', 'torchvision', 'torchvision.ops', 'torchvision.ops.misc')
    }
    stubs['timm'].__path__, stubs['timm.layers'].__path__ = [root], [f'{root}/layers']
    stubs['torchvision.ops.misc'].FrozenBatchNorm2d = object
    with mock.patch.dict(sys.modules, stubs):
        return getattr(importlib.import_module(f'timm.layers.{file}'), name)(channels)


def mmyolo(block, channels):
    """Return MMYOLO's ``CBAM``; ``None`` for another block, or if MMYOLO is not installed."""
    if block != 'CBAM' or importlib.util.find_spec('mmyolo') is None:
        return None
    from mmyolo.models.plugins import CBAM

    return CBAM(channels)


PEERS = dict(timm=timm, mmyolo=mmyolo)
