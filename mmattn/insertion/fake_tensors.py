"""A context in which a model runs on fake tensors, which have shapes but no data."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from threading import Lock

import torch
from torch import nn

from mmattn._private_apis import FakeTensorMode
from mmattn.blocks.clips import clip_blocks
from mmattn.insertion.fake_mmcv_ops import shapes_only

_ONE_AT_A_TIME = Lock()  # patches are process-wide


@contextmanager
def without_data(model: nn.Module) -> Iterator[None]:
    """Run ``model`` on fake tensors in eval mode within this context, and leave it as it was.

    Blocks that want clips take the batch of one image as a clip of one frame.
    """
    with _ONE_AT_A_TIME, _left_as_it_was(model), FakeTensorMode(allow_non_fake_inputs=True), shapes_only():
        yield


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Set eval mode; afterwards undo whatever a forward pass changed on the modules."""
    before = [(module, dict(module.__dict__), _contents(module)) for module in model.modules()]
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        for module, _, _ in before:
            module.training = False  # not eval(), which detectors override
        try:
            for block in clip_blocks(model):
                block.set_clips((1, 1))
            yield
        finally:
            for module, attributes, contents in before:
                module.__dict__.clear()
                module.__dict__.update(attributes)
                for container, content in contents:
                    container.clear()
                    (container.extend if isinstance(container, list) else container.update)(content)


def _contents(module: nn.Module) -> list[tuple]:
    """Return the containers of a module (its buffers and caches), each with a copy of its content."""
    return [
        (each, copy(each))
        for each in module.__dict__.values()
        if type(each) in (dict, OrderedDict, list, set)
    ]
