"""The mixin that a model gets with attention, and the class that combines both."""

from __future__ import annotations

from functools import partial

import torch
from mmengine.model import initialize
from torch import Tensor

from mmattn.insertion import recompute
from mmattn.insertion.positions import tail_summary
from mmattn.insertion.pretrained_check import pretrained_cfgs
from mmattn.insertion.training_watch import warn_if_nothing_trains, watch_training
from mmattn.registry import FUNCTIONS


class AttentionModel:
    """Mixin of a model with attention; :func:`with_attention_class` combines it with the model's class."""

    def init_weights(self) -> None:
        # Hide the attention: an init_cfg of the model must neither reach it nor draw random numbers for it.
        attention = self.attention
        del self.attention
        first = not getattr(self, 'is_init', False)
        try:
            if hasattr(super(), 'init_weights'):  # a plain nn.Module has none
                super().init_weights()
        finally:
            self.attention = attention
        attention.init_weights()
        if first:
            own = pretrained_cfgs(self)
            if own:  # weights of the whole model, which may include attention
                initialize(self, own)
            parts = {
                name: cfgs
                for name, module in self.named_modules()
                if name and not f'{name}.'.startswith('attention.') and (cfgs := pretrained_cfgs(module))
            }
            load = FUNCTIONS.get('load_pretrained_blocks')
            loaded = [load(self, name, cfg) for name, cfgs in parts.items() for cfg in cfgs]
            attention.note_pretrained(list(parts), set().union(*loaded))

    def train(self, mode: bool = True):
        # Attention last: the train() of a backbone with norm_eval sets every norm below it to eval,
        # and returns None.
        super().train(mode)
        self.attention.train(mode)
        if mode:  # a copy of the model, too
            watch_training(self)
            recompute.update(self)  # stages may have been frozen since
        self.attention.keep_norms_frozen(self)
        self.attention.log_once(partial(tail_summary, self))
        return self

    def __reduce_ex__(self, protocol):
        # pickle cannot import the combined class: rebuild it from the model's own.
        return _rebuild, (type(self).__mro__[2],), self.__dict__


def _parse_losses(self: AttentionModel, losses: dict) -> tuple[Tensor, dict]:
    loss, log = super(AttentionModel, self).parse_losses(losses)
    if torch.is_grad_enabled() and not loss.requires_grad:
        warn_if_nothing_trains(self)
    return loss, log


_CLASSES: dict[type, type] = {}


def with_attention_class(cls: type) -> type:
    """Return the subclass of ``cls`` that has attention; it is made once."""
    if cls not in _CLASSES:
        namespace = {'__module__': cls.__module__}
        if hasattr(cls, 'parse_losses'):  # MMEngine's models, of which each training step calls it
            namespace['parse_losses'] = _parse_losses
        _CLASSES[cls] = type(f'{cls.__name__}WithAttention', (AttentionModel, cls), namespace)
    return _CLASSES[cls]


def _rebuild(cls: type):
    combined = with_attention_class(cls)
    return combined.__new__(combined)
