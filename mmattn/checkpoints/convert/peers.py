"""Build the source models in their own libraries, where these are installed."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from torch import nn

from mmattn.checkpoints.convert.errors import NotConverted
from mmattn.checkpoints.convert.models import KnownModel


class NoPeer(NotConverted):
    """The source model cannot be built here."""


def build_peer(known: KnownModel) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a model of the source's own library, in eval mode, and the paths of what ends its stages.

    Raises:
        NoPeer: The library is not installed, or is none.
    """
    if known.library not in _BUILDERS:
        raise NoPeer(
            f'{known.library} is no library that can be installed, so its {known.name} cannot be built to '
            f'compare with; that is possible for {", ".join(_BUILDERS)}'
        )
    if find_spec(known.library) is None:
        raise NoPeer(f'{known.library} is not installed: pip install {known.library}')
    model, stages = _BUILDERS[known.library](known)
    model.eval()  # which MMPretrain's returns nothing from
    return model, stages


def _timm(known: KnownModel) -> tuple[nn.Module, tuple[str, ...]]:
    with _torchvision_or_stubs():
        file = next((file for name, file in _TIMM_FILES.items() if known.name.startswith(name)), 'resnet')
        build = getattr(importlib.import_module(f'timm.models.{file}'), known.name)
        return build(), ('layer1', 'layer2', 'layer3', 'layer4')


_TIMM_FILES = dict(legacy_='senet', skres='sknet')


def _pytorchcv(known: KnownModel) -> tuple[nn.Module, tuple[str, ...]]:
    file = _PYTORCHCV_FILES[known.blocks] + ('next' if known.backbone['type'] == 'ResNeXt' else 'net')
    build = getattr(importlib.import_module(f'pytorchcv.models.{file}'), known.name)
    stages = tuple(f'features.stage{i}' for i in range(1, 5))
    if known.blocks == 'BAM':  # it begins the next stage there, and ends a stage here
        stages = (*(f'features.stage{i}.unit1.bam' for i in range(2, 5)), stages[-1])
    return build(), stages


_PYTORCHCV_FILES = dict(SE='seres', CBAM='cbamres', BAM='bamres')


def _mmpretrain(known: KnownModel) -> tuple[nn.Module, tuple[str, ...]]:
    backbones = importlib.import_module('mmpretrain.models.backbones')
    options = {key: value for key, value in known.backbone.items() if key != 'type'}
    if 'base_width' in options:
        options['width_per_group'] = options.pop('base_width')
    cls = backbones.SEResNeXt if known.backbone['type'] == 'ResNeXt' else backbones.SEResNet
    return cls(**options), ('layer1', 'layer2', 'layer3', 'layer4')


_BUILDERS = dict(timm=_timm, pytorchcv=_pytorchcv, mmpretrain=_mmpretrain)


@contextmanager
def _torchvision_or_stubs() -> Iterator[None]:
    """Let timm's ResNets be imported where torchvision is missing; no ResNet of timm's uses it."""
    if find_spec('torchvision') is not None:
        yield
        return
    root = find_spec('timm').submodule_search_locations[0]
    before = {name for name in sys.modules if name.partition('.')[0] in ('timm', 'torchvision')}
    stubs = {
        name: types.ModuleType(name)
        for name in (
            *('timm', 'timm.models', 'timm.data', 'torchvision', 'torchvision.ops', 'torchvision.ops.misc'),
            *('torchvision.models', 'torchvision.models.feature_extraction'),
        )
    }
    for package in ('timm', 'timm.models'):  # without their __init__, which imports everything
        stubs[package].__path__ = [root + package.removeprefix('timm').replace('.', '/')]
    constants = importlib.util.spec_from_file_location('timm.data.constants', f'{root}/data/constants.py')
    module = importlib.util.module_from_spec(constants)
    constants.loader.exec_module(module)
    vars(stubs['timm.data']).update(vars(module))
    stubs['timm'].__version__ = ''
    stubs['torchvision.ops.misc'].FrozenBatchNorm2d = nn.Module
    saved = {name: sys.modules[name] for name in before}
    for name in before:
        del sys.modules[name]
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition('.')[0] in ('timm', 'torchvision')]:
            del sys.modules[name]
        sys.modules.update(saved)
