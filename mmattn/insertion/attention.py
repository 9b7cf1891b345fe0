"""The container `model.attention`: the blocks by site, their freezing, and their spec in checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from mmengine.logging import print_log
from mmengine.model import ModuleDict
from torch import Tensor, nn

from mmattn._private_apis import BatchNorm, InstanceNorm, overrides
from mmattn.insertion.log import is_brief
from mmattn.insertion.pretrained_check import random_sites, warn_of_other_insertion, warn_of_random_start
from mmattn.insertion.rng import isolated_rng
from mmattn.insertion.rule import Rule
from mmattn.insertion.site import Site
from mmattn.insertion.spec import SPEC_KEY, encode_spec, spec_of


class Chain(nn.Sequential):
    """Several blocks on one site, applied one after the other."""


class Attention(ModuleDict):
    """``model.attention``: a block per site, or a chain of several.

    Attributes:
        claims: Rules of each site, in the order of the blocks.
        spec: The insertion as data, as checkpoints keep it.
        frozen_detector_params: Names of the detector parameters frozen by :meth:`freeze_detector`; ``None``
            if the detector trains too.
        recompute: The option of :func:`~mmattn.insertion.attach_detach.attach`.
        frozen_stages_logged: Paths of the frozen stages that were named in the log.
        clips: Number of clips and of frames per clip in the current batch, if a video detector tells them.
    """

    def __init__(
        self, blocks: dict[Site, list[nn.Module]], claims: dict[Site, tuple[Rule, ...]], detector: str = ''
    ):
        super().__init__(
            {site.key: each[0] if len(each) == 1 else Chain(*each) for site, each in blocks.items()}
        )
        self.claims = claims
        self.detector = detector
        self.spec = spec_of(self)
        self.frozen_detector_params: tuple[str, ...] | None = None
        self.recompute: bool | None = None
        self.clips: tuple[int, int] | None = None
        self.frozen_stages_logged: set[str] = set()
        self._frozen: list[nn.Module] = []
        self._on_pretrained: list[Site] = []
        self._warned = False
        self._logged = False
        self._brief = is_brief()

    def blocks(self) -> Iterator[tuple[Site, Rule, nn.Module]]:
        """Yield every block with its site and its rule."""
        for site, rules in self.claims.items():
            entry = self[site.key]
            yield from zip([site] * len(rules), rules, entry if isinstance(entry, Chain) else [entry])

    def named_blocks(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield every block with its path in this container."""
        for site, rules in self.claims.items():
            entry = self[site.key]
            if isinstance(entry, Chain):
                yield from ((f'{site.key}.{i}', entry[i]) for i in range(len(rules)))
            else:
                yield site.key, entry

    def freeze(self, block: nn.Module) -> None:
        """Exclude a block from training, including its norms' statistics."""
        block.requires_grad_(False)
        self._frozen.append(block)
        block.eval()

    def freeze_detector(self, model: nn.Module) -> None:
        """Freeze all of ``model`` except this attention."""
        trained = [
            (name, p)
            for name, p in model.named_parameters()
            if p.requires_grad and not name.startswith('attention.')
        ]
        for _, parameter in trained:
            parameter.requires_grad_(False)
        self.frozen_detector_params = tuple(name for name, _ in trained)
        self.keep_norms_frozen(model)

    def keep_norms_frozen(self, model: nn.Module) -> None:
        """Set the norms of ``model`` to eval mode if :meth:`freeze_detector` froze it.

        They are looked up at each call, because SyncBN conversion may have replaced them. Dropout and other
        layers are not touched.
        """
        if self.frozen_detector_params is None:
            return
        own = set(self.modules())
        for module in model.modules():
            if isinstance(module, (BatchNorm, InstanceNorm)) and module not in own:
                module.eval()

    def unfreeze_detector(self, model: nn.Module) -> None:
        """Undo :meth:`freeze_detector`."""
        frozen = set(self.frozen_detector_params or ())
        for name, parameter in model.named_parameters():
            if name in frozen:
                parameter.requires_grad_(True)
        again = self.frozen_detector_params is not None and model.training
        self.frozen_detector_params = None
        if again:
            model.train()

    def train(self, mode: bool = True):
        if mode and self._on_pretrained:
            # Not at initialisation: the Runner loads load_from or resume only after that.
            self._warn(self._on_pretrained, 'init_cfg loaded pretrained weights below it')
        super().train(mode)
        for block in self._frozen:
            block.eval()
        return self

    def init_weights(self) -> None:
        if self.is_init:
            return
        for site, rule, block in self.blocks():
            if hasattr(block, 'init_weights'):
                device = next((p.device for p in block.parameters()), 'cpu')
                with isolated_rng(site.name, rule.order, device):
                    block.init_weights()
        self.is_init = True

    # The spec is extra state, and a tensor: EMA and mean teachers copy, swap and load every entry of a
    # state dict by .data. A buffer would be averaged over processes and exported with the model.
    def get_extra_state(self) -> Tensor:
        return encode_spec(self.spec)

    def set_extra_state(self, state) -> None:
        """Ignore the spec of a checkpoint: the config defines the model."""

    @overrides(nn.Module)
    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, *args):
        warn_of_other_insertion(self.spec, state_dict.get(prefix + SPEC_KEY))
        missing = [
            site
            for site in random_sites(self.blocks())
            if not any(key.startswith(f'{prefix}{site.key}.') for key in state_dict)
        ]
        self._on_pretrained = []
        if missing:
            self._warn(missing, 'the checkpoint being loaded has no weights for them')
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, *args)
        if prefix + SPEC_KEY in missing_keys:  # weights from elsewhere need none
            missing_keys.remove(prefix + SPEC_KEY)

    def note_pretrained(self, paths: list[str], loaded: set[Site]) -> None:
        """Remember that pretrained weights were loaded into these modules, and attention at ``loaded``."""
        self._on_pretrained = [
            site
            for site in random_sites(self.blocks())
            if site not in loaded and any(f'{site.path}.'.startswith(f'{p}.') for p in paths)
        ]

    def log_once(self, summarize: Callable[[], str]) -> None:
        """Log how the model computes its attention, when it is first set to a mode; nothing if empty.

        At debug level if attention was attached in :func:`~mmattn.insertion.log.brief_log`.
        """
        summary = '' if self._logged else summarize()
        if summary:
            self._logged = True
            level = logging.DEBUG if self._brief else logging.INFO
            print_log(f'attention: {summary}', logger='current', level=level)

    def _warn(self, sites: list[Site], why: str) -> None:
        if not self._warned:
            self._warned = True
            warn_of_random_start(sites, why)
