"""Convert a public checkpoint of a ResNet with attention for MMDetection's ResNet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmattn.checkpoints.convert.backbone import backbone_of
from mmattn.checkpoints.convert.blocks import (
    Attention,
    channels_at,
    find_options,
    shown_names,
    split_blocks,
    units_of,
)
from mmattn.checkpoints.convert.errors import NotConverted, NotMappable
from mmattn.checkpoints.convert.key_table import KeyTable, Renamed, apply_table
from mmattn.checkpoints.convert.models import KnownModel, model_of_file, named_model, twins_of
from mmattn.checkpoints.convert.tables import REFUSED, TABLES
from mmattn.insertion.attach_detach import attach
from mmattn.insertion.insert_text import block_text
from mmattn.insertion.log import brief_log
from mmattn.insertion.spec import FORMAT, SPEC_KEY, encode_spec
from mmattn.version import __version__

FORMS = ('attention', 'plugins')
"""Where the blocks are in the result: beside the detector, or in MMDetection's ``plugins``."""
LIBRARIES = tuple(dict.fromkeys(name for table in TABLES for name in table.library))
"""Names of the libraries whose checkpoints convert."""


@dataclass
class Conversion:
    """A converted checkpoint.

    Attributes:
        table: The key table that fitted.
        model: The name of the source model, if it is known.
        backbone: Config of MMDetection's backbone, without attention.
        own: The backbone's weights.
        blocks: Its attention blocks.
        renamed: What the key table did.
    """

    table: KeyTable
    model: KnownModel | None
    backbone: dict[str, Any]
    own: dict[str, Tensor] = field(repr=False)
    blocks: list[Attention] = field(repr=False)
    renamed: Renamed = field(repr=False)

    @property
    def insert(self) -> list[dict[str, Any]]:
        """The rules for ``mmattn.WithAttention``, for a backbone in a detector."""
        rules: list[tuple[dict[str, Any], str, list[int]]] = []
        for block in self.blocks:
            end = '.*.residual' if '.' in block.host else ''
            same = next((each for each in rules if each[:2] == (block.config, end)), None)
            if same is None:
                rules.append((block.config, end, [block.stage]))
            elif block.stage not in same[2]:
                same[2].append(block.stage)
        return [
            dict(at=f'backbone.layer{_digits(stages)}{end}', block=config) for config, end, stages in rules
        ]

    @property
    def plugins(self) -> list[dict[str, Any]]:
        """The blocks as MMDetection's ``plugins=``.

        Raises:
            NotMappable: It has no place for them.
        """
        self.require_form('plugins')
        found: list[tuple[dict[str, Any], set[int]]] = []
        for block in self.blocks:
            same = next((each for each in found if each[0] == block.config), None)
            if same is None:
                found.append((block.config, {block.stage}))
            else:
                same[1].add(block.stage)
        return [
            dict(cfg=config, position='after_conv3', stages=tuple(i in stages for i in (1, 2, 3, 4)))
            for config, stages in found
        ]

    def require_form(self, form: str) -> None:
        """Raise :class:`NotMappable` if MMDetection has no place for the blocks in that form."""
        if form not in FORMS:
            raise ValueError(f'blocks go into {" or ".join(FORMS)}; got {form!r}')
        if form == 'attention' or not self.blocks:
            return
        outside = [block for block in self.blocks if '.' not in block.host]
        if outside or self.backbone['depth'] < 50:
            why = (
                f'a block follows {outside[0].host}, and plugins= ends residual branches only'
                if outside
                else "MMDetection's basic blocks (ResNet-18 and -34) take no plugins"
            )
            raise NotMappable(f'{why}: convert for attention in the model (--blocks attention)')

    def backbone_config(self, form: str = 'attention') -> dict[str, Any]:
        """Return the config of the backbone; with its ``plugins`` if blocks are to be there."""
        if form == 'plugins' and self.blocks:
            return dict(self.backbone, plugins=self.plugins)
        return dict(self.backbone)

    def state(self, form: str = 'attention', prefix: str = 'backbone.') -> dict[str, Tensor]:
        """Return the weights by their names here.

        Args:
            form: ``'attention'``: blocks are in ``model.attention``, with the record of the insertion;
                ``'plugins'``: they are in the backbone.
            prefix: Before the names of the backbone's weights, and of the sites in it: ``'backbone.'`` for a
                whole model, ``''`` for the backbone alone.
        """
        self.require_form(form)
        state = {prefix + key: value for key, value in self.own.items()}
        for block in self.blocks:
            inside = (
                f'{prefix}{block.host}.{block.plugin}'
                if form == 'plugins'
                else f'attention.{f"{prefix}{block.site}".replace(".", "_")}'
            )
            state |= {f'{inside}.{key}': value for key, value in block.weights.items()}
        if form == 'attention' and self.blocks:
            state[f'attention.{SPEC_KEY}'] = encode_spec(self.spec(prefix))
        return state

    def spec(self, prefix: str = 'backbone.') -> dict[str, Any]:
        """Return the record of the insertion, with ``prefix`` before the names of its sites."""
        insert = [
            dict(
                at=f'{prefix}{block.site}',
                block=block.config | dict(start='paper'),
                order=0,
                freeze_with_host=False,
            )
            for block in self.blocks
        ]
        return dict(format=FORMAT, mmattn=__version__, insert=insert)

    def build(self) -> nn.Module:
        """Return the backbone with its attention and these weights, in eval mode."""
        model = _build(self.backbone)
        if self.blocks:
            with brief_log():
                attach(model, [dict(at=block.site, block=block.config) for block in self.blocks])
        model.to(self.own['layer1.0.conv1.weight'].dtype)
        # Its counters of batches stand for those that PyTorch before 0.4.1 did not save.
        model.load_state_dict({**model.state_dict(), **self.state(prefix='')})
        model.eval()
        return model


def convert(
    weights: Mapping[str, Tensor], source: str = 'auto', model: str | None = None, hint: str = ''
) -> Conversion:
    """Convert the weights of a public checkpoint.

    Args:
        weights: The weights by their names in the source, see
            :func:`~mmattn.checkpoints.convert.source_file.read_source`.
        source: The library that they come from, or ``'auto'``: told by the names.
        model: The name of the source model, with or without the tag of its weights. Needed only where two
            models have the same names and shapes.
        hint: The name of the file, which may tell the model too.

    Returns:
        The converted weights, complete: nothing is missing in MMDetection's backbone and in the blocks.

    Raises:
        NotMappable: The model computes what no config of MMDetection's ResNet does.
        NotConverted: The names or shapes are not those of a known source.
    """
    if source not in ('auto', *LIBRARIES):
        raise NotConverted(f"--from is 'auto' or one of {', '.join(LIBRARIES)}; got {source!r}")
    table = _table_of(weights, source)
    libraries = table.library if source == 'auto' else (source,)
    known = named_model(libraries, model.partition('.')[0]) if model else model_of_file(libraries, hint)
    if known:
        known.require_mappable()
    renamed = apply_table(table, weights)
    if renamed.unexpected:
        raise NotConverted(
            f'{len(renamed.unexpected)} of {len(weights)} weights are none of {table.name}: '
            f'{shown_names(renamed.unexpected)}'
        )
    own, blocks = split_blocks(renamed.state)
    backbone = backbone_of(own, table.style)
    known = _which(libraries, backbone, _type_of(own, blocks), known, bool(model))
    if known:
        backbone['style'] = known.backbone['style']
    for block in blocks:
        find_options(block, channels_at(block.host, own))
    _require_alike(blocks, own)
    backbone |= _selective(own)
    require_complete(backbone, own)
    return Conversion(table, known, backbone, own, blocks, renamed)


def _table_of(weights: Mapping[str, Tensor], source: str) -> KeyTable:
    for layout in REFUSED:
        if layout.fits(weights):
            raise NotMappable(f'{layout.name} cannot be converted: {layout.why}')
    tables = [table for table in TABLES if table.fits(weights)]
    fitting = [table for table in tables if source in ('auto', *table.library)]
    if not fitting:
        found = f'they are those of {tables[0].name}' if tables else f'they begin with {shown_names(weights)}'
        known = '; '.join(table.name for table in TABLES)
        raise NotConverted(
            f'the names of the weights are not those of {"a known source" if source == "auto" else source}: '
            f'{found}. Known are: {known}'
        )
    return fitting[0]


def _which(
    libraries: tuple[str, ...], backbone: dict[str, Any], blocks: str, known: KnownModel | None, asked: bool
) -> KnownModel | None:
    """Return the model that a file is of, if it is a known one.

    Raises:
        NotConverted: Models that compute different things have these weights; or the one that was named
            has others.
    """
    twins = twins_of(libraries, backbone, blocks)
    if known in twins:
        return known
    if known and asked:
        raise NotConverted(
            f'the file is not that of {known.name}: it has {blocks} in {_config_text(backbone)}, and '
            f'{known.name} has {known.blocks} in {_config_text(known.backbone)}'
        )
    if len({(each.backbone['style'], each.refused) for each in twins}) > 1:
        raise NotConverted(
            f'{" and ".join(each.name for each in twins)} have the same names and shapes of weights, and '
            'compute different maps: say which one the file is of (--model NAME)'
        )
    if not twins:
        return None
    twins[0].require_mappable()
    return twins[0]


def _type_of(own: Mapping[str, Tensor], blocks: list[Attention]) -> str:
    types = {block.type for block in blocks} | ({'SKConv'} if _selective(own) else set())
    return ' and '.join(sorted(types))


def _selective(own: Mapping[str, Tensor]) -> dict[str, Any]:
    """The part of the backbone's config that gives it selective kernels, if it has them."""
    if not any('.conv2.paths.' in key for key in own):
        return {}
    return dict(dcn=dict(type='mmattn.SKConv', fallback_on_stride=False), stage_with_dcn=(True,) * 4)


def _require_alike(blocks: list[Attention], own: Mapping[str, Tensor]) -> None:
    """Raise unless a stage has the same block in all its residual blocks, or in none."""
    for stage, number in Counter(unit.partition('.')[0] for unit in units_of(own)).items():
        inside = [block for block in blocks if block.host.startswith(f'{stage}.')]
        configs = [block.config for block in inside]
        if inside and (len(inside) != number or any(each != configs[0] for each in configs)):
            raise NotConverted(
                f'{len(inside)} of the {number} residual blocks of {stage} have attention, with the options '
                f'{_distinct(configs)}: a known source has the same in all'
            )


def require_complete(backbone: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    """Raise :class:`NotConverted` unless these are all weights of a backbone, in their shapes."""
    with torch.device('meta'):
        built = _build(backbone)
    expected = {key: tuple(value.shape) for key, value in built.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in own.items()}
    missing = [key for key in expected if key not in found and not key.endswith('num_batches_tracked')]
    unexpected = [key for key in found if key not in expected]
    wrong = [
        f'{key} {found[key]} instead of {expected[key]}'
        for key in found
        if key in expected and found[key] != expected[key]
    ]
    texts = [
        f'{len(keys)} weights {what}: {shown_names(keys)}'
        for what, keys in (
            ('are missing in the file', missing),
            ('have no place in the backbone', unexpected),
            ('have another shape', wrong),
        )
        if keys
    ]
    if texts:
        raise NotConverted(f'{_config_text(backbone)} cannot take the weights: {"; ".join(texts)}')


def _build(backbone: Mapping[str, Any]) -> nn.Module:
    with ROOT_MODELS.switch_scope_and_registry('mmdet') as registry:
        return registry.build(deepcopy(dict(backbone)))  # MMDetection takes options out of dcn


def _config_text(backbone: Mapping[str, Any]) -> str:
    options = ', '.join(f'{key}={value!r}' for key, value in backbone.items() if key not in ('type', 'style'))
    return f'{backbone["type"]}({options})'


def _distinct(configs: list[dict[str, Any]]) -> str:
    return ' and '.join(dict.fromkeys(map(block_text, configs)))


def _digits(stages: list[int]) -> str:
    if len(stages) == 1:
        return str(stages[0])
    first, last = min(stages), max(stages)
    whole = last - first == len(stages) - 1
    return f'[{first}-{last}]' if whole else f'[{"".join(map(str, sorted(stages)))}]'
