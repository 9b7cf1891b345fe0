"""From a trained detector to a file: what ``tools/export.py`` calls."""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_file
from mmattn.engine.trained import trained_detector
from mmattn.export.description import KEY, describe
from mmattn.export.detector import DetectorGraph
from mmattn.export.operators import dynamo_table, register_for_torchscript
from mmattn.export.packages import require_packages
from mmattn.export.supported import detector_graph
from mmattn.export.two_stage import TwoStageGraph
from mmattn.files import require_free, write_file

INPUT, OUTPUTS = 'image', ('dets', 'labels')
OPSET = 18
EXPORTERS = ('torchscript', 'dynamo')
_TRACED_SIZE = (2, 3, 224, 288)  # none of these numbers is another, nor a size of a map
_LEAST_OPSET = {'dynamo': 18, 'torchscript': 11}
_LEAST_OPSET_OF_ROI_ALIGN = 16  # which is that of MMDetection from there on


def export_file(
    config: str,
    checkpoint: str,
    out: str,
    normalize: bool = True,
    opset: int = OPSET,
    exporter: str = EXPORTERS[0],
    overwrite: bool = False,
    data_root: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    trust_checkpoint: bool = False,
) -> tuple[Config, DetectorGraph]:
    """Write a trained detector as ONNX or as a program of ``torch.export``.

    Args:
        config: Config file.
        checkpoint: Checkpoint file.
        out: The file to write, ``.onnx`` or ``.pt2``.
        normalize: Whether the file normalises the image.
        opset: Version of ONNX's operators.
        exporter: PyTorch's exporter to ONNX, ``'torchscript'`` or ``'dynamo'``.
        overwrite: Replace a file.
        data_root: Folder of the data set; see :func:`~mmattn.engine.load_config`.
        cfg_options: Changes to the config.
        trust_checkpoint: Let the checkpoint run code.

    Returns:
        The config, and the graph that was written.

    Raises:
        CannotExport: If the detector cannot be exported; nothing is written.
    """
    with user_input():
        write = _writer(out)
        require_writable_file(out, 'OUT')
        require_free(out, overwrite)
    with user_input(f'{config} and {checkpoint}'):
        cfg, model = trained_detector(
            config, checkpoint, data_root, cfg_options, trust_checkpoint=trust_checkpoint
        )
    with user_input():
        graph = detector_graph(model, normalize)
        content = write(graph, cfg, opset=opset, exporter=exporter)
        os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
        write_file(out, content, overwrite)
    return cfg, graph


def _writer(out: str) -> Any:
    suffix = os.path.splitext(out)[1]
    if suffix not in _WRITERS:
        raise ValueError(
            f"OUT was '{out}': a detector is written as {' or '.join(_WRITERS)} (ONNX, torch.export)"
        )
    return _WRITERS[suffix]


def onnx_bytes(graph: DetectorGraph, cfg: Config, opset: int = OPSET, exporter: str = EXPORTERS[0]) -> bytes:
    """Return a detector as the content of an ``.onnx`` file, with its description.

    Args:
        graph: See :func:`~mmattn.export.detector_graph`.
        cfg: Config of the detector, for the description.
        opset: Version of ONNX's operators.
        exporter: ``'torchscript'`` or ``'dynamo'``.

    Raises:
        ValueError: If the exporter cannot write this version.
    """
    require_packages('onnx', *(['onnxscript'] if exporter == 'dynamo' else []))
    _check_opset(graph, opset, exporter)
    import onnx

    description = describe(graph, cfg, exporter=exporter, opset=opset)
    with _as_for_export(graph):
        model = _EXPORTERS[exporter](graph, opset)
    onnx.helper.set_model_props(model, {KEY: json.dumps(description)})
    model.producer_name, model.producer_version = KEY, description['versions'][KEY]
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _check_opset(graph: DetectorGraph, opset: int, exporter: str) -> None:
    least, why = _LEAST_OPSET[exporter], f'the exporter {exporter}'
    if isinstance(graph.head, TwoStageGraph) and least < _LEAST_OPSET_OF_ROI_ALIGN:
        least, why = _LEAST_OPSET_OF_ROI_ALIGN, "MMDetection's RoIAlign"
    if opset < least:
        raise ValueError(f'--opset {opset}: {why} needs {least} or more')


def _by_torchscript(graph: DetectorGraph, opset: int) -> Any:
    import onnx

    register_for_torchscript()
    file = io.BytesIO()
    torch.onnx.export(
        graph,
        (_example(graph),),
        file,
        dynamo=False,
        opset_version=opset,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_axes={
            INPUT: {0: 'N', 2: 'H', 3: 'W'},
            **{name: {0: 'N'} for name in OUTPUTS},
        },
    )
    return onnx.load_from_string(file.getvalue())


def _by_dynamo(graph: DetectorGraph, opset: int) -> Any:
    program = torch.onnx.export(
        graph,
        (_example(graph),),
        dynamo=True,
        opset_version=opset,
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes=_dynamic_shapes(),
        custom_translation_table=dynamo_table(),
        verbose=False,
        external_data=False,
    )
    return program.model_proto


_EXPORTERS = {'torchscript': _by_torchscript, 'dynamo': _by_dynamo}


def program_bytes(graph: DetectorGraph, cfg: Config, **_: Any) -> bytes:
    """Return a detector as the content of a ``.pt2`` file; a reader imports ``mmattn.export`` first."""
    with _as_for_export(graph):
        program = torch.export.export(
            graph, (_example(graph),), dynamic_shapes=_dynamic_shapes(), strict=False
        )
        file = io.BytesIO()
        description = json.dumps(describe(graph, cfg, exporter='torch.export'))
        torch.export.save(program, file, extra_files={f'{KEY}.json': description})
    return file.getvalue()


_WRITERS = {'.onnx': onnx_bytes, '.pt2': program_bytes}


def _example(graph: nn.Module) -> torch.Tensor:
    return torch.zeros(_TRACED_SIZE, device=next(graph.parameters()).device)


def _dynamic_shapes() -> tuple:
    dim = torch.export.Dim
    return ({0: dim('N', min=1, max=1024), 2: dim('H', min=32, max=8192), 3: dim('W', min=32, max=8192)},)


@contextmanager
def _as_for_export(model: nn.Module) -> Iterator[None]:
    """Predict, without gradients and chatter, and leave each module's training flag as it was.

    The exporters put back that of the model alone, which would end the eval mode of frozen norms.
    """
    training = {module: module.training for module in model.modules()}
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            for module in training:
                module.training = False
            yield
    finally:
        logger.setLevel(level)
        for module, was in training.items():
            module.training = was
