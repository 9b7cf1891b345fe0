"""Grad-CAM of a detection, by Captum."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmattn.insertion.globs import nearest_names


class _Attached(TorchFunctionMode):
    """A context in which ``detach()`` keeps the graph.

    The dense heads of MMDetection detach their scores before they choose among them, and would else have
    no gradient to give.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.detach:
            return args[0]
        return func(*args, **(kwargs or {}))


def grad_cam(model: nn.Module, data: dict, layer: str, detections: Sequence[int]) -> list[Tensor]:
    """Where a layer speaks for a detection: Grad-CAM of its score.

    `Selvaraju et al., ICCV 2017 <https://arxiv.org/abs/1610.02391>`_: the maps of the layer, weighted by the
    mean gradient of the score with respect to each, summed, and what is negative cut off. Computed by
    ``captum.attr.LayerGradCam``. It shows what the detector goes by, with attention or without; it
    does not follow the box, whose coordinates and suppression are taken as they are.

    Args:
        model: A detector in eval mode, which is left as it was.
        data: A batch of one picture, as :func:`~mmattn.visualization.inspection.look` takes it.
        layer: Path of a module that returns one map ``(1, C, H, W)`` and is called once.
        detections: Which ones, by their place among ``pred_instances``.

    Returns:
        For each a map ``(H, W)``, not normalised.

    Raises:
        ImportError: Captum is not installed.
        ValueError: There is no such layer, it is called more or less than once, returns no map, or
            has no part in the score.
    """
    try:
        from captum.attr import LayerGradCam
    except ModuleNotFoundError as error:
        raise ImportError(
            'Grad-CAM is computed by Captum, which is not installed: pip install captum'
        ) from error
    modules = dict(model.named_modules())
    if layer not in modules:
        raise ValueError(
            f"Grad-CAM: {type(model).__name__} has no module '{layer}'; nearest: "
            + ', '.join(nearest_names(layer, modules))
        )
    _require_one_call(model, data, modules[layer], layer)
    batch = model.data_preprocessor(copy.deepcopy(data), False)

    def scores(picture: Tensor) -> Tensor:
        samples = copy.deepcopy(batch['data_samples'])
        with _Attached():
            return model(picture, samples, mode='predict')[0].pred_instances.scores[None]

    needed = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for parameter, _ in needed:  # the maps' gradients are wanted, nobody else's
            parameter.requires_grad_(False)
        picture = batch['inputs'].detach().requires_grad_()
        found = []
        for i in detections:
            with torch.enable_grad():
                try:
                    cam = LayerGradCam(scores, modules[layer]).attribute(picture, i, relu_attributions=True)
                except (RuntimeError, AssertionError) as error:
                    raise ValueError(
                        f"Grad-CAM of detection {i} at '{layer}' of {type(model).__name__} failed: {error}"
                    ) from error
            if not cam.isfinite().all():
                raise ValueError(
                    f"Grad-CAM of detection {i} at '{layer}' is not finite: nor is the model, perhaps"
                )
            found.append(cam[0, 0].detach())
        return found
    finally:
        for parameter, before in needed:
            parameter.requires_grad_(before)


def _require_one_call(model: nn.Module, data: dict, module: nn.Module, layer: str) -> None:
    outputs = []
    handle = module.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        with torch.no_grad():
            model.test_step(copy.deepcopy(data))
    finally:
        handle.remove()
    if len(outputs) != 1:
        raise ValueError(
            f"Grad-CAM: '{layer}' is called {len(outputs)} times for a picture; choose a module "
            'that is called once, such as the last stage of the backbone'
        )
    if not isinstance(outputs[0], Tensor) or outputs[0].dim() != 4 or len(outputs[0]) != 1:
        found = tuple(outputs[0].shape) if isinstance(outputs[0], Tensor) else type(outputs[0]).__name__
        raise ValueError(f"Grad-CAM: '{layer}' returns {found}, not one map (1, C, H, W)")
