"""Check that attention that starts as the identity leaves every output of a model as it was, bit for bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mmattn._private_apis import forward_hooks, forward_pre_hooks
from mmattn.insertion.attach_detach import attach, detach
from mmattn.insertion.attention import Attention
from mmattn.insertion.site import Site
from mmattn.insertion.site_search import sites

PARTS = ('residual', 'stage', 'lateral', 'topdown', 'output')
"""The parts of sites that name a place in the architecture, rather than any convolution or module."""

_BITS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


@dataclass
class IdentityReport:
    """The result of :func:`check_identity`.

    Attributes:
        sites: Number of blocks by the part of their site.
        maps: Number of maps compared.
        idle: Names of sites whose block has no effect on any map: none of its parameters gets a gradient.
        problems: A sentence for each broken promise; empty if all is well.
    """

    sites: dict[str, int] = field(default_factory=dict)
    maps: int = 0
    idle: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def named_sites(model: nn.Module, parts: Iterable[str] = PARTS) -> list[Site]:
    """Return the sites of ``model`` that belong to these parts."""
    return [site for site in sites(model) if site.part in parts]


def feature_maps(model: nn.Module, image: Tensor) -> list[Tensor]:
    """Return every map that leaves a backbone with its neck, of every detector within ``model``.

    They come from a detector's ``extract_feat``, or, if it has none (video models), from
    ``neck(backbone(image))``. A tracker or a semi-supervised wrapper contains one or more detectors.

    Args:
        model: A detector, or a model that contains some.
        image: ``(N, 3, H, W)``.
    """
    maps = []
    for module in model.modules():
        # Attention may have a block named 'backbone', for the site of that name.
        if isinstance(getattr(module, 'backbone', None), nn.Module) and not isinstance(module, Attention):
            maps += _tensors(_features(module, image))
    return maps


def head_outputs(model: nn.Module, image: Tensor) -> list[Tensor]:
    """Return the outputs of the heads, RoI heads included: what ``forward(..., mode='tensor')`` returns."""
    from mmdet.structures import DetDataSample

    size = tuple(image.shape[2:])
    meta = dict(
        img_shape=size, ori_shape=size, batch_input_shape=size, pad_shape=size, scale_factor=(1.0, 1.0)
    )
    return _tensors(model(image, [DetDataSample(metainfo=meta) for _ in image], mode='tensor'))


def check_identity(
    model: nn.Module, image: Tensor, block: Mapping, parts: Iterable[str] = PARTS
) -> IdentityReport:
    """Attach ``block`` at every site of these parts, compare with the model without it, and detach it.

    Maps are compared bit for bit, and so are the outputs of heads if a site lies in one. The state dict is
    compared by names and values; after ``detach()`` also the class, attributes and hooks of every module.
    If the model has no site of these parts, nothing is compared.

    Args:
        model: A detector in eval mode, without attention. Afterwards it is as it was.
        image: ``(N, 3, H, W)``.
        block: Config of the block, as in a rule.
        parts: Parts whose sites get a block.

    Returns:
        What was compared, and each difference found.

    Raises:
        ValueError: The block cannot be attached.
    """
    chosen = named_sites(model, parts)
    count = Counter(site.part for site in chosen)
    report = IdentityReport({part: count[part] for part in parts if count[part]})
    if not chosen:
        return report
    outputs = feature_maps
    if any('_head.' in f'.{site.path}.' for site in chosen):

        def outputs(model, image):
            return feature_maps(model, image) + head_outputs(model, image)

    cls, anatomy = type(model), _anatomy(model)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        stock = outputs(model, image)
    report.maps = len(stock)
    report.problems += _degenerate(stock)

    attach(model, dict(at=[site.name for site in chosen], block=block))
    try:
        maps = outputs(model, image)
        report.problems += _unequal_maps(stock, [each.detach() for each in maps], 'with attention')
        report.idle = _without_gradient(model, chosen, maps)
        del maps
    except Exception as error:
        report.problems.append(f'with attention the model raises {type(error).__name__}: {error}')
    with_attention = model.state_dict()
    extra = [name for name in with_attention if name not in state and not name.startswith('attention.')]
    if extra:
        report.problems.append(f"attach added {len(extra)} keys outside 'attention', the first is {extra[0]}")
    if not any(name.startswith('attention.') for name in with_attention):
        report.problems.append("attach added no key under 'attention'")
    report.problems += _unequal_states(state, with_attention, 'with attention')
    del with_attention

    detach(model)
    if type(model) is not cls:
        report.problems.append(f'after detach the model is a {type(model).__name__}, not a {cls.__name__}')
    after = _anatomy(model)
    report.problems += [
        f"detach left traces on '{path}'" for path in anatomy if after.get(path) != anatomy[path]
    ][:3]
    if after.keys() != anatomy.keys():
        report.problems.append(
            f'after detach the modules differ: {sorted(after.keys() ^ anatomy.keys())[:3]}'
        )
    if list(model.state_dict()) != list(state):
        report.problems.append('after detach the keys of the state dict differ')
    report.problems += _unequal_states(state, model.state_dict(), 'after detach')
    with torch.no_grad():
        report.problems += _unequal_maps(stock, outputs(model, image), 'after detach')
    return report


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Fill weights and norm statistics quickly with values that leave no map constant, at any depth.

    In a new model the biases, the running means and the weights of some norms are zero, and equality of
    what is multiplied by zero says nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    learned = dict(model.named_parameters())
    for name, tensor in [*learned.items(), *model.named_buffers()]:
        if not tensor.is_floating_point() or not (name in learned or 'running_' in name):
            continue
        if tensor.dim() > 1:
            bound = (3 / max(tensor[0].numel(), 1)) ** 0.5  # a layer keeps the variance
            low, high = -bound, bound
        else:
            low, high = (0.5, 1.0) if name.endswith(('weight', 'running_var')) else (-0.3, 0.3)
        tensor.data.uniform_(low, high, generator=generator)
    for module in model.modules():
        if hasattr(module, 'weight_gamma'):  # mmcv's ConvAWS2d multiplies standardised weights by it
            module.weight_gamma.fill_(module.weight[0].numel() ** -0.5)
    return model


def _features(module: nn.Module, image: Tensor):
    if hasattr(module, 'extract_feat'):
        return module.extract_feat(image)
    features = module.backbone(image)
    neck = getattr(module, 'neck', None)
    return features if neck is None else neck(features)


def _tensors(value) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    return [tensor for each in value for tensor in _tensors(each)]


def _anatomy(model: nn.Module) -> dict:
    """Describe every module: its class, the names of its attributes, its hooks."""
    return {
        path: (
            type(module),
            sorted(vars(module)),
            dict(forward_hooks(module)),
            dict(forward_pre_hooks(module)),
        )
        for path, module in model.named_modules()
    }


def _degenerate(maps: list[Tensor]) -> list[str]:
    for i, each in enumerate(maps):
        if not torch.isfinite(each).all():
            return [f'map {i} of the model without attention is not finite']
        if each.numel() > 1 and not each.std() > 0:
            return [f'map {i} of the model without attention is constant']
    return [] if maps else ['the model has no backbone whose maps could be compared']


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Compare bit for bit, unlike ``torch.equal``, for which 0.0 equals -0.0."""
    if a.dtype == b.dtype and a.dtype in _BITS:
        a, b = a.view(_BITS[a.dtype]), b.view(_BITS[b.dtype])
    return a.dtype == b.dtype and torch.equal(a, b)


def _without_gradient(model: nn.Module, chosen: list[Site], maps: list[Tensor]) -> list[str]:
    parameters = [(site.name, p) for site in chosen for p in model.attention[site.key].parameters()]
    # Not the plain sum of the maps, which is constant if a norm comes last.
    total = sum((each * torch.rand_like(each)).sum() for each in maps if each.requires_grad)
    grads = torch.autograd.grad(total, [p for _, p in parameters], allow_unused=True)
    reached = {name for (name, _), grad in zip(parameters, grads) if grad is not None and grad.any()}
    return [site.name for site in chosen if site.name not in reached]


def _unequal_maps(stock: list[Tensor], maps: list[Tensor], when: str) -> list[str]:
    if len(maps) != len(stock):
        return [f'{when} the model has {len(maps)} maps, not {len(stock)}']
    unequal = [i for i, (a, b) in enumerate(zip(stock, maps)) if not _same_bits(a, b)]
    if not unequal:
        return []
    first = unequal[0]
    difference = (
        f'by up to {(stock[first] - maps[first]).abs().max():.3g}'
        if stock[first].shape == maps[first].shape
        else f'in shape: {tuple(maps[first].shape)}, not {tuple(stock[first].shape)}'
    )
    return [f'{when} {len(unequal)} of {len(maps)} maps differ, map {first} {difference}']


def _unequal_states(state: Mapping[str, Tensor], other: Mapping[str, Tensor], when: str) -> list[str]:
    unequal = [
        name for name, value in state.items() if name not in other or not _same_bits(other[name], value)
    ]
    return (
        [f'{when} {len(unequal)} tensors of the model are gone or changed, the first is {unequal[0]}']
        if unequal
        else []
    )
