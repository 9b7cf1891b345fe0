"""The model that has attention: its container, and what it does differently."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mmengine.logging import print_log
from mmengine.model import ModuleDict, PretrainedInit, initialize
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmattn.insertion.compact import insert_text
from mmattn.insertion.rng import own_randomness
from mmattn.insertion.rules import Rule
from mmattn.insertion.sites import Site
from mmattn.insertion.spec import SPEC_KEY, decode_spec, differences, encode_spec, spec_of


class Chain(nn.Sequential):
    """Several blocks on one site, one behind the other."""


class Attention(ModuleDict):
    """``model.attention``: one entry a site, a block or a :class:`Chain` of them.

    Attributes:
        claims: Which rules put a block on which site, in the order of the blocks.
        spec: The insertion as data; see :func:`~mmattn.insertion.spec.spec_of`.
        held: Names of the parameters of the detector that attention alone trains without: those which
            :meth:`hold` froze. ``None`` where the detector trains too.
    """

    holds_attention = True

    def __init__(
        self, blocks: dict[Site, list[nn.Module]], claims: dict[Site, tuple[Rule, ...]], detector: str = ''
    ):
        super().__init__(
            {site.key: each[0] if len(each) == 1 else Chain(*each) for site, each in blocks.items()}
        )
        self.claims = claims
        self.detector = detector
        self.spec = spec_of(self)
        self.held: tuple[str, ...] | None = None
        self._frozen: list[nn.Module] = []
        self._on_pretrained: list[Site] = []
        self._warned = False

    def blocks(self) -> Iterator[tuple[Site, Rule, nn.Module]]:
        """Every block, with its site and the rule that put it there."""
        for site, rules in self.claims.items():
            entry = self[site.key]
            yield from zip([site] * len(rules), rules, entry if isinstance(entry, Chain) else [entry])

    def freeze(self, block: nn.Module) -> None:
        """Exclude a block from training, its norms' statistics included."""
        block.requires_grad_(False)
        self._frozen.append(block)
        block.eval()

    def hold(self, model: nn.Module) -> None:
        """Freeze all of ``model`` but this attention: it alone trains."""
        held = [
            (name, p)
            for name, p in model.named_parameters()
            if p.requires_grad and not name.startswith('attention.')
        ]
        for _, parameter in held:
            parameter.requires_grad_(False)
        self.held = tuple(name for name, _ in held)
        self.hold_statistics(model)

    def hold_statistics(self, model: nn.Module) -> None:
        """Keep the norms of ``model`` in eval mode where it is held.

        By what they are now: SyncBN conversion may have replaced them. Dropout and all else stays as
        it is.
        """
        if self.held is None:
            return
        own = set(self.modules())
        for module in model.modules():
            if isinstance(module, (_BatchNorm, _InstanceNorm)) and module not in own:
                module.eval()

    def release(self, model: nn.Module) -> None:
        """Let the parameters train again that :meth:`hold` froze."""
        held = set(self.held or ())
        for name, parameter in model.named_parameters():
            if name in held:
                parameter.requires_grad_(True)
        again = self.held is not None and model.training
        self.held = None
        if again:
            model.train()

    def train(self, mode: bool = True):
        if mode and self._on_pretrained:
            # Not when they were initialised: the Runner loads load_from or resume after that.
            self._warn(self._on_pretrained, 'init_cfg loaded pretrained weights below it')
        super().train(mode)
        for block in self._frozen:
            block.eval()
        return self

    def init_weights(self) -> None:
        if self._is_init:
            return
        for site, rule, block in self.blocks():
            if hasattr(block, 'init_weights'):
                device = next((p.device for p in block.parameters()), 'cpu')
                with own_randomness(site.name, rule.order, device):
                    block.init_weights()
        self._is_init = True

    # The spec goes with the weights as extra state, and as a tensor: EMA and mean teachers copy, swap
    # and load whatever a state dict has, by .data. A buffer would be averaged over processes and
    # exported with the model.
    def get_extra_state(self) -> Tensor:
        return encode_spec(self.spec)

    def set_extra_state(self, state) -> None:
        """Nothing: a model is what its config says."""

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, *args):
        self._compare(state_dict.get(prefix + SPEC_KEY))
        missing = [
            site
            for site in self._random_sites()
            if not any(key.startswith(f'{prefix}{site.key}.') for key in state_dict)
        ]
        self._on_pretrained = []
        if missing:
            self._warn(missing, 'the checkpoint being loaded holds nothing for them')
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, *args)
        if prefix + SPEC_KEY in missing_keys:  # weights from elsewhere need none
            missing_keys.remove(prefix + SPEC_KEY)

    def _compare(self, state) -> None:
        """Warn where a checkpoint's insertion is another one."""
        if state is None:
            return
        try:
            theirs = decode_spec(state)
        except ValueError as error:
            print_log(
                f"whether the checkpoint's attention is that of the model is not known: {error}",
                logger='current',
                level=logging.WARNING,
            )
            return
        found = differences(theirs, self.spec)
        if found:
            print_log(
                'THE ATTENTION OF THE CHECKPOINT IS NOT THAT OF THE MODEL, and its weights will not mean '
                f'what they were trained for: {"; ".join(found)}. The checkpoint was trained with\n'
                f'  {insert_text(theirs["insert"])}\nwhich is what the config should say, unless the '
                'difference is meant.',
                logger='current',
                level=logging.WARNING,
            )

    def note_pretrained(self, paths: list[str]) -> None:
        """Remember that pretrained weights were loaded into these modules, without attention."""
        self._on_pretrained = [
            site for site in self._random_sites() if any(f'{site.path}.'.startswith(f'{p}.') for p in paths)
        ]

    def _random_sites(self) -> list[Site]:
        random = [
            site
            for site, _, block in self.blocks()
            if getattr(block, 'role', None) == 'gate'
            and block.start == 'paper'
            and not getattr(block, 'paper_is_identity', False)
            and next(block.parameters(), None) is not None
        ]
        return list(dict.fromkeys(random))

    def _warn(self, sites: list[Site], why: str) -> None:
        if self._warned:
            return
        self._warned = True
        print_log(
            f'attention starts at random on pretrained weights: {len(sites)} block(s), the first at '
            f"'{sites[0].name}', have start='paper', and {why}. Their gates stand around 0.5 and "
            'scale down features that the other layers rely on, which mostly costs mAP. Write '
            "start='identity' in the block's config to start from the detector you had, or load a "
            'checkpoint that was trained with this attention.',
            logger='current',
            level=logging.WARNING,
        )


class Attended:
    """Mixin of a model with attention; :func:`attended_class` combines it with the model's class."""

    def init_weights(self) -> None:
        # Without its attention: an init_cfg of the model must neither reach it nor draw random
        # numbers for it.
        attention = self._modules.pop('attention')
        first = not getattr(self, '_is_init', False)
        try:
            if hasattr(super(), 'init_weights'):  # a plain nn.Module has none
                super().init_weights()
        finally:
            self._modules['attention'] = attention
        attention.init_weights()
        if first:
            own = _pretrained_cfgs(self)
            if own:  # weights of the whole model, attention's perhaps among them
                initialize(self, own)
            attention.note_pretrained(
                [name for name, module in self.named_modules() if name and _pretrained_cfgs(module)]
            )

    def train(self, mode: bool = True):
        # Attention last: the train() of a backbone with norm_eval sets every norm below it to eval,
        # and returns None.
        super().train(mode)
        self.attention.train(mode)
        self.attention.hold_statistics(self)
        return self

    def __reduce_ex__(self, protocol):
        # The combined class has no name to be found by: rebuild it from the model's own.
        return _rebuild, (type(self).__mro__[2],), self.__dict__


def _pretrained_cfgs(module: nn.Module) -> list[dict]:
    init_cfg = getattr(module, 'init_cfg', None)
    cfgs = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
    return [
        cfg for cfg in cfgs if isinstance(cfg, dict) and cfg.get('type') in ('Pretrained', PretrainedInit)
    ]


_CLASSES: dict[type, type] = {}


def attended_class(cls: type) -> type:
    """The class of a ``cls`` that has attention: a subclass of it, made once."""
    if cls not in _CLASSES:
        _CLASSES[cls] = type(f'Attended{cls.__name__}', (Attended, cls), {'__module__': cls.__module__})
    return _CLASSES[cls]


def _rebuild(cls: type):
    attended = attended_class(cls)
    return attended.__new__(attended)
