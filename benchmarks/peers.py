"""The same blocks by other packages, where they are installed: their speed beside ours."""

import importlib
import importlib.util
import sys
import types
from unittest import mock


def timm(block, channels):
    """timm's ``SEModule``, ``EcaModule`` or ``CbamModule``; ``None`` without timm."""
    file, name = dict(
        SE=('squeeze_excite', 'SEModule'), ECA=('eca', 'EcaModule'), CBAM=('cbam', 'CbamModule')
    ).get(block, (None, None))
    spec = importlib.util.find_spec('timm')
    if file is None or spec is None:
        return None
    # The layers alone: timm itself imports torchvision, of which there is no build for every PyTorch.
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
    """MMYOLO's ``CBAM``; ``None`` without MMYOLO, or for another block."""
    if block != 'CBAM' or importlib.util.find_spec('mmyolo') is None:
        return None
    from mmyolo.models.plugins import CBAM

    return CBAM(channels)


PEERS = dict(timm=timm, mmyolo=mmyolo)
