"""Explain a detection by Grad-CAM, computed by Captum."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmattn.insertion.globs import nearest_names


class _DetachKeepsGraph(TorchFunctionMode):
    """A context in which ``detach()`` keeps the graph.

    MMDetection's dense heads detach their scores before they select detections, so that otherwise no
    gradient would reach the layer.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.detach:
            return args[0]
        return func(*args, **(kwargs or {}))


def grad_cam(model: nn.Module, data: dict, layer: str, detections: Sequence[int]) -> list[Tensor]:
    """Compute Grad-CAM: where a layer's maps raise the score of a detection.

    `Selvaraju et al., ICCV 2017 <https://arxiv.org/abs/1610.02391>`_: the layer's maps, weighted by the mean
    gradient of the score with respect to each, are summed, and negative values are set to 0
    (``captum.attr.LayerGradCam``). It explains the score only: box coordinates and non-maximum suppression
    are taken as they are.

    Args:
        model: Detector in eval mode. It is left as it was.
        data: A batch of one image, as :func:`~mmattn.visualization.inspection.inspect_image` takes it.
        layer: Path of a module that is called once and returns one map ``(1, C, H, W)``.
        detections: Indices of the detections in the model's ``pred_instances``.

    Returns:
        One map ``(H, W)`` per detection, not normalised.

    Raises:
        ImportError: If Captum is not installed.
        ValueError: If the model has no such layer, or the layer is not called exactly once, does not return
            one map, or does not affect the score.
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

    def scores(image: Tensor) -> Tensor:
        samples = copy.deepcopy(batch['data_samples'])
        with _DetachKeepsGraph():
            return model(image, samples, mode='predict')[0].pred_instances.scores[None]

    trained = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for parameter, _ in trained:  # only the gradients of the maps are needed
            parameter.requires_grad_(False)
        image = batch['inputs'].detach().requires_grad_()
        cams = []
        for i in detections:
            with torch.enable_grad():
                try:
                    cam = LayerGradCam(scores, modules[layer]).attribute(image, i, relu_attributions=True)
                except (RuntimeError, AssertionError) as error:
                    raise ValueError(
                        f"Grad-CAM of detection {i} at '{layer}' of {type(model).__name__} failed: {error}"
                    ) from error
            if not cam.isfinite().all():
                raise ValueError(
                    f"Grad-CAM of detection {i} at '{layer}' is not finite; "
                    'the model itself may give NaN or inf'
                )
            cams.append(cam[0, 0].detach())
        return cams
    finally:
        for parameter, before in trained:
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
            f"Grad-CAM: '{layer}' is called {len(outputs)} times for an image; choose a module "
            'that is called once, such as the last stage of the backbone'
        )
    if not isinstance(outputs[0], Tensor) or outputs[0].dim() != 4 or len(outputs[0]) != 1:
        found = tuple(outputs[0].shape) if isinstance(outputs[0], Tensor) else type(outputs[0]).__name__
        raise ValueError(f"Grad-CAM: '{layer}' returns {found}, not one map (1, C, H, W)")
