"""The registries of this package: children of MMEngine's, with the scope ``mmattn``.

MMEngine imports ``mmattn.registry`` when it meets a type such as ``'mmattn.CBAM'``, and each registry
imports its ``locations`` at the first look-up. So no config needs ``custom_imports``.
"""

from __future__ import annotations

import difflib
from typing import Any

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry


class _Registry(Registry):
    """A registry that raises ``KeyError`` with the known names if a name is unknown.

    MMEngine's returns ``None``, which mmcv's ``build_plugin_layer`` reports as "Cannot find None".
    """

    def get(self, key: str) -> Any:
        registered = super().get(key)
        if registered is None and '.' not in key:
            names = sorted(self.module_dict)
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
            raise KeyError(
                f"'mmattn.{key}' is not registered"
                + (f"; did you mean 'mmattn.{near[0]}'?" if near else '.')
                + f' This registry has: {", ".join(names)}'
            )
        return registered

    def __contains__(self, key: str) -> bool:
        try:
            return super().__contains__(key)
        except KeyError:
            return False


def _child(parent: Registry, *locations: str) -> Registry:
    return _Registry(parent.name, parent=parent, scope='mmattn', locations=list(locations))


# The last registers no model, but the scheme timm:// of checkpoints, which an init_cfg may name.
MODELS = _child(MMENGINE_MODELS, 'mmattn.blocks', 'mmattn.insertion', 'mmattn.checkpoints.convert.hub')
DATASETS = _child(MMENGINE_DATASETS, 'mmattn.datasets')
TRANSFORMS = _child(MMENGINE_TRANSFORMS, 'mmattn.datasets')
# What one room calls in another that may not be imported there.
FUNCTIONS = _child(MMENGINE_FUNCTIONS, 'mmattn.checkpoints')
HOOKS = _child(MMENGINE_HOOKS, 'mmattn.hooks', 'mmattn.study.record_hook')
