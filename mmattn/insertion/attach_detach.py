"""Insert attention into a model, and remove it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.model import is_model_wrapper
from torch import nn

from mmattn.insertion import clips
from mmattn.insertion import recompute as recomputation
from mmattn.insertion.attention import Attention
from mmattn.insertion.attention_model import AttentionModel, with_attention_class
from mmattn.insertion.build_block import build_block
from mmattn.insertion.claims import claim_sites
from mmattn.insertion.log import log_insertion
from mmattn.insertion.positions import has_block, host_of
from mmattn.insertion.rng import isolated_rng
from mmattn.insertion.rule import Rule
from mmattn.insertion.site import Site
from mmattn.insertion.start_check import require_identity
from mmattn.insertion.training_watch import watch_training


def attach(
    model: nn.Module,
    rules: Sequence[Mapping | Rule],
    freeze_detector: bool = False,
    recompute: bool | None = None,
) -> nn.Module:
    """Insert attention into ``model``, in place.

    All rules are read, checked against the model and against each other, and all blocks are built
    before the model is touched: after an error it is as it was. The blocks live in
    ``model.attention``, so the model's own weights keep their names.

    Args:
        model: Any detector, or a part of one.
        rules: Dicts with ``at`` (a glob or a list of globs over :func:`~mmattn.sites`) and ``block``
            (its config, without ``in_channels``); see :class:`~mmattn.insertion.rule.Rule`.
        freeze_detector: Train attention only: all other parameters get no gradient, and the
            detector's norms keep their statistics.
        recompute: Compute frozen stages through which attention sends gradients again in the backward pass,
            instead of keeping their activations. By default if the detector trains; ``True``: also with
            ``freeze_detector``; ``False``: never.

    Returns:
        ``model``, now of a subclass of its class.

    Raises:
        ValueError, TypeError, KeyError: A rule matches nothing, claims a site that is taken or a module
            that cannot have a block, or names an unknown block or option; or a block from elsewhere has
            ``start='identity'`` and changes its map.

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
    if recompute is not None and not isinstance(recompute, bool):
        raise TypeError(f'recompute is True, False or None; got {recompute!r}')
    _require_attachable(model)
    claims = claim_sites(model, rules)
    container = Attention({}, {})
    for site in claims:
        if hasattr(container, site.key):
            raise ValueError(
                f"the site '{site.name}' would be 'attention.{site.key}', which a container of "
                'modules has for itself: attach to a model that this one is a part of'
            )
    hosts = {site: host_of(model, site) for site in claims}
    blocks: dict[Site, list[nn.Module]] = {}
    for site, claimed in claims.items():
        like = next((p for p in hosts[site][0].parameters() if p.is_floating_point()), None)
        blocks[site] = []
        for rule in claimed:
            with isolated_rng(site.name, rule.order):
                block = build_block(rule, site)
            clips.require_clips(model, block)
            block = block if like is None else block.to(like.device, like.dtype)
            require_identity(rule, block, site.channels)
            blocks[site].append(block)

    frozen = {
        site for site, (host, _) in hosts.items() if not any(p.requires_grad for p in host.parameters())
    }
    if freeze_detector and all(
        rule.freeze_with_host and site in frozen for site, claimed in claims.items() for rule in claimed
    ):
        raise ValueError(
            'freeze_detector=True, and freeze_with_host=True freezes all attention: nothing is '
            'left to train. Leave freeze_with_host out'
        )

    attention = Attention(blocks, claims, type(model).__name__)
    attention.train(model.training)
    inserted = []
    for site, claimed in claims.items():
        host, position = hosts[site]
        position.put(host, attention[site.key], site.name)
        for rule, block in zip(claimed, blocks[site]):
            freeze = rule.freeze_with_host and site in frozen
            if freeze:
                attention.freeze(block)
            inserted.append((site.name, block, freeze))
    log_insertion(inserted)
    model.__class__ = with_attention_class(type(model))
    model.attention = attention
    watch_training(model)
    clips.put(model)
    if freeze_detector:
        attention.freeze_detector(model)
    attention.recompute = recompute
    recomputation.update(model)
    return model


def _require_attachable(model: nn.Module) -> None:
    """Raise ``TypeError`` or ``ValueError`` if ``model`` as a whole cannot get attention."""
    if not isinstance(model, nn.Module):
        raise TypeError(f'a model is needed, an nn.Module; got {model!r}')
    # DDP would not reduce gradients of new parameters; torch.compile sets attributes on the wrapped module.
    if is_model_wrapper(model) or '_orig_mod' in dict(model.named_children()):
        raise ValueError(
            f'{type(model).__name__} wraps a model for parallel training or torch.compile: '
            'attach to the model itself, before it is wrapped'
        )
    found = [name for name, module in model.named_modules() if isinstance(module, AttentionModel)]
    if found:
        where = f"its part '{found[0]}'" if found[0] else 'the model'
        raise ValueError(f'{where} has attention already: give all rules in one call, or detach() it first')
    block = next((name for name, module in model.named_modules() if has_block(module)), None)
    if block is not None:
        where = f"'{block}' in it" if block else 'it'
        raise ValueError(
            f'{type(model).__name__} is a part of a model with attention, which has a block at '
            f'{where}: detach() that model first, and give it all rules in one call'
        )
    if isinstance(model, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        raise ValueError(
            f'a {type(model).__name__} would take its attention for one of its own '
            'layers: attach to the module that contains it'
        )
    if all(isinstance(getattr(model, part, None), nn.Module) for part in ('student', 'teacher')):
        # A mean teacher averages the parameters of these two only.
        raise ValueError(
            f'{type(model).__name__} averages its student into its teacher, but no parameters '
            'beside them: insert attention into the detector that both are built from, '
            "detector=dict(type='mmattn.WithAttention', detector='FasterRCNN', insert=[...])"
        )
    if hasattr(model, 'attention'):
        raise ValueError(
            f"{type(model).__name__} has an attribute 'attention' of its own, which is "
            'the name that mmattn needs'
        )


def detach(model: nn.Module) -> nn.Module:
    """Remove what :func:`attach` inserted; the model is then as it was before.

    Args:
        model: A model with attention; it is changed in place.

    Returns:
        ``model``, again of its own class.

    Raises:
        ValueError: The model has no attention, or something has changed the class of the model or of
            a host since.
    """
    if not isinstance(model, AttentionModel):
        raise ValueError(f'{type(model).__name__} has no attention that attach() put there')
    hosts = {site.name: host_of(model, site) for site in model.attention.claims}
    changed = [f"'{name}'" for name, (_, position) in hosts.items() if position is None]
    changed += [f"'{path}'" for path in recomputation.changed(model)]
    if type(model).__bases__[0] is not AttentionModel:
        changed.insert(0, 'the model')
    if changed:
        raise ValueError(
            f'the class of {changed[0]} has been changed since attach(), as parametrizations '
            'do: undo that before detach()'
        )
    for host, position in hosts.values():
        position.take(host)
    model.attention.unfreeze_detector(model)
    clips.take(model)
    recomputation.take(model)
    del model.attention
    model.__class__ = type(model).__mro__[2]
    return model
