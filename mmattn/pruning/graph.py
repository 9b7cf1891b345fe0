"""Which layers and blocks of a model lose a channel together: Torch-Pruning's graph, with attention.

Torch-Pruning follows a map through the layers of a model by the graph of its gradient. What happens inside a
block would mislead it: pooled statistics are not the map, and a concatenation may be one of images. So a
block is one node of the graph, which says itself which of its axes are channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from mmdet.models.detectors import SingleStageDetector
from torch import Tensor, nn

from mmattn.blocks import AttentionBlock
from mmattn.blocks.channels import keep_channels
from mmattn.blocks.outermost import outermost_blocks
from mmattn.insertion.attention import Attention
from mmattn.insertion.globs import glob_match, nearest_names
from mmattn.insertion.positions import blocks_last
from mmattn.insertion.widths import LAYERS
from mmattn.packages import require_packages

SIZE = 256
"""Height and width of the image that is followed through a model."""


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that only go together, as a residual stream's do: a channel is taken from all layers or none.

    Attributes:
        root: The layer by which the group is found.
        channels: Number of channels.
        sets: Number of equal sets that the channels consist of, as a group norm's; all keep the same size.
        layers: Names of the layers that compute these channels.
        blocks: The attention on them, by its path in the model.
        items: What Torch-Pruning would do to take all of them, for a ranking.
    """

    root: nn.Module
    channels: int
    sets: int
    layers: tuple[str, ...]
    blocks: dict[str, AttentionBlock] = field(compare=False)
    items: Any = field(compare=False, repr=False)


class PruningGraph:
    """The layers and blocks of a model, and what depends on the channels of each.

    Followed is an image through backbone, neck and, in a single-stage detector, the dense head. What a model
    returns from there keeps its channels.

    Args:
        model: A detector, with or without attention. It is left as it is until :meth:`prune`.
        ignore: Globs over names of layers, or of modules that contain them, whose channels all stay.

    Attributes:
        kept: Why layers keep their channels though nobody asked for it, by their names.

    Raises:
        ValueError: If a glob matches no module, or a block of attention is not one of ours.
    """

    def __init__(self, model: nn.Module, ignore: Sequence[str] = ()):
        require_packages('prune', 'torch_pruning')
        import torch_pruning

        self._tp = torch_pruning
        self.model = model
        self.ignored = _matching(model, ignore)
        self._names = {module: name for name, module in model.named_modules()}
        self._blocks = {block: path for path, block in outermost_blocks(model)}
        _require_own_blocks(model)
        self._named_parameters = {parameter: name for name, parameter in model.named_parameters()}
        self.kept: dict[tuple[str, ...], str] = {}
        self._graph = self._built()

    def _built(self) -> Any:
        pruner = _block_pruner(self._tp)
        graph = self._tp.DependencyGraph()
        with traceable(self.model, list(self._blocks)), torch.enable_grad():
            like = next(self.model.parameters())
            return graph.build_dependency(
                self.model,
                example_inputs=torch.zeros(1, 3, SIZE, SIZE, device=like.device, dtype=like.dtype),
                forward_fn=_outputs,
                customized_pruners={type(block): pruner for block in self._blocks},
                verbose=False,
            )

    def groups(self) -> Iterator[ChannelGroup]:
        """Yield the groups whose channels may be taken, with the present number of channels."""
        output = self._tp.ops.OPTYPE.OUTPUT
        for items in self._graph.get_all_groups():
            computing = [
                dep.target.module
                for dep, _ in items
                if self._graph.is_out_channel_pruning_fn(dep.handler) and dep.target.module in self._names
            ]
            names = tuple(dict.fromkeys(self._names[module] for module in computing))
            if any(dep.target.type == output for dep, _ in items) or self.ignored.intersection(names):
                continue
            other = self._other(items)
            if other:
                self.kept[names] = other
                continue
            root = items[0].dep.target.module
            blocks = {self._blocks[each]: each for each in computing if each in self._blocks}
            yield ChannelGroup(
                root, self._graph.get_out_channels(root), self._sets(items), names, blocks, items
            )

    def _other(self, items: Any) -> str:
        """Return what depends on the channels whose width cannot be set; empty if there is nothing."""
        for item in items:
            dep, layer = item.dep, item.dep.target.module
            if isinstance(layer, nn.Parameter):  # of a layer that Torch-Pruning does not know
                return f"the parameter '{self._named_parameters[layer]}'"
            if layer in self._names and not isinstance(layer, LAYERS):
                return f"the {type(layer).__name__} '{self._names[layer]}'"
            if layer in self._names:
                out = self._graph.is_out_channel_pruning_fn(dep.handler)
                size = (self._graph.get_out_channels if out else self._graph.get_in_channels)(layer)
                if max(item.idxs) >= size:  # as behind Res2Net's splits
                    return f"'{self._names[layer]}', whose channels Torch-Pruning does not follow"
        return ''

    def _sets(self, items: Any) -> int:
        sets = [1]
        for dep, _ in items:
            layer = dep.target.module
            depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.out_channels
            if layer in self._names and not depthwise:
                pruner = self._graph.get_pruner_of_module(layer)
                out = self._graph.is_out_channel_pruning_fn(dep.handler)
                sets.append((pruner.get_out_channel_groups if out else pruner.get_in_channel_groups)(layer))
        return max(sets)

    def prune(self, group: ChannelGroup, channels: Sequence[int]) -> None:
        """Take these channels of a group from all layers and blocks.

        Raises:
            ValueError: If a layer would have none left, which also depends on the channels in another way.
        """
        pruner = self._graph.get_pruner_of_module(group.root)
        items = self._graph.get_pruning_group(group.root, pruner.prune_out_channels, list(channels))
        if not self._graph.check_pruning_group(items):
            raise ValueError(
                f"a layer that depends on '{group.layers[0]}' would have no channel left: leave that alone "
                f"with --ignore '{group.layers[0]}'"
            )
        items.prune()


def _require_own_blocks(model: nn.Module) -> None:
    """Raise ``ValueError`` for a block that does not say where its channels are: its layers would mislead."""
    attention = getattr(model, 'attention', None)
    for site, _, block in attention.blocks() if isinstance(attention, Attention) else ():
        if not isinstance(block, AttentionBlock):
            raise ValueError(
                f"the {type(block).__name__} at '{site.name}' cannot be pruned: it does not derive from "
                "mmattn's AttentionBlock, and so cannot say which axes of its parameters are channels"
            )


def _block_pruner(tp: Any) -> Any:
    class BlockPruner(tp.pruner.function.BasePruningFunc):
        def prune_out_channels(self, layer: AttentionBlock, idxs: Sequence[int]) -> AttentionBlock:
            gone = set(idxs)
            keep_channels(layer, torch.tensor([i for i in range(layer.in_channels) if i not in gone]))
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer: AttentionBlock) -> int:
            return layer.in_channels

        get_in_channels = get_out_channels

    return BlockPruner()


@contextmanager
def traceable(model: nn.Module, blocks: Sequence[AttentionBlock]) -> Iterator[None]:
    """Let the graph of a gradient show each layer and each block as one step."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    modes = {module: module.training for module in model.modules()}
    with ExitStack() as stack:
        for block in blocks:
            block.forward = _one_step
            stack.callback(delattr, block, 'forward')
        for parameter in frozen:
            parameter.requires_grad_(True)
            stack.callback(parameter.requires_grad_, False)
        stack.callback(_set_modes, modes)
        yield


def _one_step(x: Tensor) -> Tensor:
    return x * 1


def _set_modes(modes: dict[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training


def _outputs(model: nn.Module, image: Tensor) -> list[Tensor]:
    made: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, output: made.append(output))
        for layer in model.modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    try:
        with blocks_last(model):  # behind Torch-Pruning's hooks, which ask what the host itself returns
            outputs = features(model, image)
    finally:
        for hook in hooks:
            hook.remove()
    seen = _steps_of(outputs)
    # What is computed and then dropped depends on channels too, as the end of YOLOv3's MobileNetV2.
    dropped = [tensor for tensor in made if tensor.grad_fn not in seen]
    return [tensor * 1 for tensor in outputs + dropped]


def features(model: nn.Module, image: Tensor) -> list[Tensor]:
    """Return what backbone and neck return, and in a single-stage detector its head."""
    found = (
        model(image, mode='tensor') if isinstance(model, SingleStageDetector) else model.extract_feat(image)
    )
    return list(_tensors(found))


def _steps_of(outputs: Sequence[Tensor]) -> set:
    """Return all steps of the graph of a gradient that lead to some tensors."""
    seen: set = set()
    waiting = [tensor.grad_fn for tensor in outputs]
    while waiting:
        step = waiting.pop()
        if step is not None and step not in seen:
            seen.add(step)
            waiting += [each for each, _ in step.next_functions]
    return seen


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _matching(model: nn.Module, globs: Sequence[str]) -> set[str]:
    """Return the names of all modules that match a glob, or are inside of one that does."""
    names = [name for name, _ in model.named_modules() if name]
    found: set[str] = set()
    for glob in globs:
        heads = [name for name in names if glob_match(glob, name)]
        if not heads:
            near = ', '.join(nearest_names(glob, names))
            raise ValueError(
                f"--ignore '{glob}' matches no module of this {type(model).__name__}; nearest: {near}"
            )
        found.update(name for name in names if any(f'{name}.'.startswith(f'{head}.') for head in heads))
    return found
