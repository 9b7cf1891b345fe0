"""From a trained detector to a file: what ``tools/export.py`` calls."""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from mmattn.blocks.eval_mode import in_eval_mode
from mmattn.engine import check_data
from mmattn.engine.config_images import images
from mmattn.engine.mistakes import user_input
from mmattn.engine.output_path import require_writable_file
from mmattn.engine.trained import trained_detector
from mmattn.export.description import KEY, describe
from mmattn.export.detector import DetectorGraph, normalized
from mmattn.export.operators import dynamo_table, register_for_torchscript
from mmattn.export.quantize import quantized
from mmattn.export.supported import CannotExport, detector_graph
from mmattn.export.two_stage import TwoStageGraph
from mmattn.files import require_free, write_file
from mmattn.packages import require_packages

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
    int8: int = 0,
    overwrite: bool = False,
    data_root: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    trust_checkpoint: bool = False,
    parts: Sequence[str] = (),
) -> tuple[Config, DetectorGraph]:
    """Write a trained detector as ONNX or as a program of ``torch.export``.

    Args:
        config: Config file.
        checkpoint: Checkpoint file.
        out: The file to write, ``.onnx`` or ``.pt2``.
        normalize: Whether the file normalises the image.
        opset: Version of ONNX's operators.
        exporter: PyTorch's exporter to ONNX, ``'torchscript'`` or ``'dynamo'``.
        int8: Quantise to int8, calibrated on this many images of the config's val data; 0: do not.
        overwrite: Replace a file.
        data_root: Folder of the data set; see :func:`~mmattn.engine.load_config`.
        cfg_options: Changes to the config.
        trust_checkpoint: Let the checkpoint run code.
        parts: Those of ``val`` and ``test`` whose data is needed later; it is checked before.

    Returns:
        The config, and the graph that was written.

    Raises:
        CannotExport: If the detector cannot be exported; nothing is written.
    """
    with user_input():
        write = _writer(out)
        require_writable_file(out, 'OUT')
        require_free(out, overwrite)
        if int8 and (not out.endswith('.onnx') or exporter != EXPORTERS[0]):
            raise ValueError(f'--int8 quantises an .onnx file of the exporter {EXPORTERS[0]}')
    with user_input(f'{config} and {checkpoint}'):
        cfg, model = trained_detector(
            config, checkpoint, data_root, cfg_options, trust_checkpoint=trust_checkpoint
        )
        check_data(cfg, parts)
    with user_input():
        graph = detector_graph(model, normalize)
        content = write(graph, cfg, opset=opset, exporter=exporter)
        if int8:
            content = quantized(content, calibration_images(graph, cfg, int8), gate_names(graph))
        os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
        write_file(out, content, overwrite)
    return cfg, graph


def calibration_images(graph: DetectorGraph, cfg: Config, count: int) -> Iterator[np.ndarray]:
    """Yield images of a config's val data as the file takes them, evenly spread."""
    for batch in images(cfg, count, 'val'):
        image = batch['inputs'][0].unsqueeze(0).float()
        yield (image if graph.normalize else normalized(graph.model.data_preprocessor, image)).numpy()


def gate_names(graph: DetectorGraph) -> list[str]:
    """Return the names that the blocks of attention have in the names of a file's nodes."""
    attention = getattr(graph.model, 'attention', None)
    return [] if attention is None else [name for name, _ in attention.named_children()]


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
        CannotExport: If the exporter, or standard ONNX, lacks what the detector is made of.
        ValueError: If the exporter cannot write this version.
    """
    require_packages('deploy', 'onnx', *(['onnxscript'] if exporter == 'dynamo' else []))
    _check_opset(graph, opset, exporter)
    import onnx

    description = describe(graph, cfg, exporter=exporter, opset=opset)
    try:
        with _as_for_export(graph):
            model = _EXPORTERS[exporter](graph, opset)
    except torch.onnx.errors.OnnxExporterError as error:
        other = next(name for name in EXPORTERS if name != exporter)
        raise CannotExport(
            f'{description["detector"]} cannot be exported by the exporter {exporter} at opset {opset}: '
            f'{str(error).strip().partition(chr(10))[0]} Try --exporter {other}, or another --opset'
        ) from error
    foreign = sorted({f'{node.domain}::{node.op_type}' for node in model.graph.node} - _standard(model))
    if foreign:
        raise CannotExport(
            f'{description["detector"]} cannot be exported: it has {", ".join(foreign)}, which are no '
            'operators of standard ONNX'
        )
    onnx.helper.set_model_props(model, {KEY: json.dumps(description)})
    model.producer_name, model.producer_version = KEY, description['versions'][KEY]
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _standard(model: Any) -> set[str]:
    return {f'{node.domain}::{node.op_type}' for node in model.graph.node if node.domain in ('', 'ai.onnx')}


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
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # lines of source code, with the folders of this machine
    return model


_EXPORTERS = {'torchscript': _by_torchscript, 'dynamo': _by_dynamo}


def program_bytes(graph: DetectorGraph, cfg: Config, **_: Any) -> bytes:
    """Return a detector as the content of a ``.pt2`` file; a reader imports ``mmattn.export`` first."""
    any_size = torch.export.Dim.DYNAMIC  # from what the smallest map needs
    with _as_for_export(graph):
        program = torch.export.export(
            graph, (_example(graph),), dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},), strict=False
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
    """Predict, without gradients and chatter, and leave each module's training flag as it was."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with torch.no_grad(), in_eval_mode(model), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
