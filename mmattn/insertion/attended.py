"""The model that has attention: its container, and what it does differently."""
from __future__ import annotations

import logging

from mmengine.logging import print_log
from mmengine.model import ModuleDict
from torch import nn

from mmattn.insertion.rng import own_randomness
from mmattn.insertion.rules import Rule
from mmattn.insertion.sites import Site


class Attention(ModuleDict):
    """``model.attention``: the blocks, one a site.

    Attributes:
        claims: Which rule put a block on which site.
    """

    def __init__(self, blocks: dict[Site, nn.Module], claims: dict[Site, Rule]):
        super().__init__({site.key: block for site, block in blocks.items()})
        self.claims = claims
        self.frozen: list[str] = []
        self._warned = False

    def freeze(self, site: Site) -> None:
        """Exclude the block of ``site`` from training, its norms' statistics included."""
        self[site.key].requires_grad_(False)
        self.frozen.append(site.key)
        self[site.key].eval()

    def train(self, mode: bool = True):
        super().train(mode)
        for key in self.frozen:
            self[key].eval()
        return self

    def init_weights(self) -> None:
        if self._is_init:
            return
        for site in self.claims:
            block = self[site.key]
            if hasattr(block, 'init_weights'):
                device = next((p.device for p in block.parameters()), 'cpu')
                with own_randomness(site.name, device):
                    block.init_weights()
        self._is_init = True

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        if not any(key.startswith(prefix) for key in state_dict):
            self.warn_random('the checkpoint being loaded holds nothing for it')
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def warn_random(self, why: str) -> None:
        """Warn, once, that random gates are put on weights that somebody trained without them."""
        random = [site for site in self.claims
                  if getattr(self[site.key], 'is_gate', False)
                  and getattr(self[site.key], 'start', 'paper') == 'paper']
        if not random or self._warned:
            return
        self._warned = True
        print_log(
            f"attention starts at random on pretrained weights: {len(random)} block(s), the first at "
            f"'{random[0].name}', have start='paper', and {why}. Their gates stand around 0.5 and "
            "scale down features that the other layers rely on, which mostly costs mAP. Write "
            "start='identity' in the block's config to start from the detector you had, or load a "
            'checkpoint that was trained with this attention.',
            logger='current', level=logging.WARNING)


class Attended:
    """Mixin of a model with attention; :func:`attended_class` combines it with the model's class."""

    def init_weights(self) -> None:
        # Without its attention: an init_cfg of the model must neither reach it nor draw random
        # numbers for it.
        attention = self._modules.pop('attention')
        try:
            super().init_weights()
        finally:
            self._modules['attention'] = attention
        attention.init_weights()
        if any(_is_pretrained(module) for module in self.modules()):
            attention.warn_random('the weights named by init_cfg may hold nothing for it')

    def __reduce_ex__(self, protocol):
        # The combined class has no name to be found by: rebuild it from the model's own.
        return _rebuild, (type(self).__mro__[2],), self.__dict__


def _is_pretrained(module: nn.Module) -> bool:
    init_cfg = getattr(module, 'init_cfg', None)
    cfgs = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    return any(isinstance(cfg, dict) and cfg.get('type') == 'Pretrained' for cfg in cfgs)


_CLASSES: dict[type, type] = {}


def attended_class(cls: type) -> type:
    """The class of a ``cls`` that has attention: a subclass of it, made once."""
    if cls not in _CLASSES:
        _CLASSES[cls] = type(f'Attended{cls.__name__}', (Attended, cls), {'__module__': cls.__module__})
    return _CLASSES[cls]


def _rebuild(cls: type):
    attended = attended_class(cls)
    return attended.__new__(attended)
