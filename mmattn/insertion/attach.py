"""Put attention into a model, and take it out again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn

from mmattn.insertion import clips
from mmattn.insertion.attended import Attended, Attention, attended_class
from mmattn.insertion.hosts import holds_block
from mmattn.insertion.rng import own_randomness
from mmattn.insertion.rules import Rule, build_block, claim_sites
from mmattn.insertion.sites import Site


def attach(model: nn.Module, rules: Sequence[Mapping | Rule], freeze_detector: bool = False) -> nn.Module:
    """Insert attention into ``model``, in place.

    All rules are read, checked against the model and against each other, and all blocks are built
    before the model is touched: after an error it is as it was. The blocks live in
    ``model.attention``, so the model's own weights keep their names.

    Args:
        model: Any detector, or a part of one.
        rules: Dicts with ``at`` (a glob or a list of globs over :func:`~mmattn.sites`) and ``block``
            (its config, without ``in_channels``); see :class:`~mmattn.insertion.rules.Rule`.
        freeze_detector: Train attention alone: all other parameters need no gradient, and the
            detector's norms keep their statistics.

    Returns:
        ``model``, now of a subclass of its class.

    Raises:
        ValueError, TypeError, KeyError: A rule matches nothing, claims a place that is taken or
            cannot hold a block, or names an unknown block or option.

    Example:
        >>> import torch
        >>> from mmdet.models import ResNet
        >>> from mmattn import attach, detach
        >>> backbone = ResNet(18)
        >>> _ = attach(backbone, [dict(at='layer4.*.residual', block=dict(type='mmattn.SE'))])
        >>> list(backbone.attention)
        ['layer4_0_residual', 'layer4_1_residual']
        >>> type(detach(backbone)) is ResNet
        True
    """
    if not isinstance(freeze_detector, bool):
        raise TypeError(f'freeze_detector is True or False; got {freeze_detector!r}')
    _require_own_parameters(model)
    attended = [name for name, module in model.named_modules() if isinstance(module, Attended)]
    if attended:
        where = f"its part '{attended[0]}'" if attended[0] else 'the model'
        raise ValueError(f'{where} has attention already: give all rules in one call, or detach() it first')
    held = next((name for name, module in model.named_modules() if holds_block(module)), None)
    if held is not None:
        where = f"'{held}' in it" if held else 'it'
        raise ValueError(
            f'{type(model).__name__} is a part of a model with attention, which has a block at '
            f'{where}: detach() that model first, and give it all rules in one call'
        )
    if isinstance(model, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        raise ValueError(
            f'a {type(model).__name__} would take its attention for one of its own '
            'layers: attach to the module that holds it'
        )
    if all(isinstance(getattr(model, part, None), nn.Module) for part in ('student', 'teacher')):
        # What its mean teacher averages are the parameters of these two.
        raise ValueError(
            f'{type(model).__name__} averages its student into its teacher, but not what stands '
            'beside them: insert attention into the detector that both are built from, '
            "detector=dict(type='mmattn.WithAttention', detector='FasterRCNN', insert=[...])"
        )
    if hasattr(model, 'attention'):
        raise ValueError(
            f"{type(model).__name__} has an attribute 'attention' of its own, which is "
            'the name this package needs'
        )
    claims = claim_sites(model, rules)
    container = Attention({}, {})
    for site in claims:
        if hasattr(container, site.key):
            raise ValueError(
                f"the site '{site.name}' would be 'attention.{site.key}', which a container of "
                'modules has for itself: attach to a model that this one is a part of'
            )
    hosts = {site: site.host(model) for site in claims}
    blocks: dict[Site, list[nn.Module]] = {}
    for site, wanted in claims.items():
        like = next((p for p in hosts[site][0].parameters() if p.is_floating_point()), None)
        blocks[site] = []
        for rule in wanted:
            with own_randomness(site.name, rule.order):
                block = build_block(rule, site)
            clips.require_clips(model, block)
            blocks[site].append(block if like is None else block.to(like.device, like.dtype))

    frozen = {
        site for site, (host, _) in hosts.items() if not any(p.requires_grad for p in host.parameters())
    }
    if freeze_detector and all(
        rule.freeze_with_host and site in frozen for site, wanted in claims.items() for rule in wanted
    ):
        raise ValueError(
            'freeze_detector=True, and freeze_with_host=True freezes all attention: nothing is '
            'left to train. Leave freeze_with_host out'
        )

    attention = Attention(blocks, claims, type(model).__name__)
    attention.train(model.training)
    for site, wanted in claims.items():
        host, kind = hosts[site]
        kind.put(host, attention[site.key], site.name)
        for rule, block in zip(wanted, blocks[site]):
            freeze = rule.freeze_with_host and site in frozen
            if freeze:
                attention.freeze(block)
            parameters = sum(p.numel() for p in block.parameters())
            print_log(
                f'attention: {site.name} -> {type(block).__name__}({block.extra_repr()}), '
                f'{parameters:,} parameters' + (', frozen' if freeze else ''),
                logger='current',
            )
    model.__class__ = attended_class(type(model))
    model.attention = attention
    clips.put(model)
    if freeze_detector:
        attention.hold(model)
    return model


def _require_own_parameters(model) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f'a model is needed, an nn.Module; got {model!r}')
    # The one has listed its parameters already and would not reduce the gradients of more; the other
    # sets attributes on what it wraps.
    if is_model_wrapper(model) or isinstance(model._modules.get('_orig_mod'), nn.Module):
        raise ValueError(
            f'{type(model).__name__} wraps a model for parallel training or torch.compile: '
            'attach to the model itself, before it is wrapped'
        )


def detach(model: nn.Module) -> nn.Module:
    """Take out what :func:`attach` put in; the model is then as it was before.

    Args:
        model: A model with attention; it is changed in place.

    Returns:
        ``model``, again of its own class.

    Raises:
        ValueError: The model has no attention, or something has changed the class of the model or of
            a host since.
    """
    if not isinstance(model, Attended):
        raise ValueError(f'{type(model).__name__} has no attention that attach() put there')
    hosts = {site.name: site.host(model) for site in model.attention.claims}
    changed = [f"'{name}'" for name, (_, kind) in hosts.items() if kind is None]
    if type(model).__bases__[0] is not Attended:
        changed.insert(0, 'the model')
    if changed:
        raise ValueError(
            f'the class of {changed[0]} has been changed since attach(), as parametrizations '
            'do: undo that before detach()'
        )
    for host, kind in hosts.values():
        kind.take(host)
    model.attention.release(model)
    clips.take(model)
    del model.attention
    model.__class__ = type(model).__mro__[2]
    return model
