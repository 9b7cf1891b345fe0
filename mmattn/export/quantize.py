"""Static quantisation to int8 by ONNX Runtime's own tools."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable

import numpy as np

from mmattn.packages import require_packages

_QUANTIZED = ('Conv', 'Gemm', 'MatMul')
"""Operators that are quantised: nearly all of the time goes into them."""


def quantized(content: bytes, images: Iterable[np.ndarray], in_float: Collection[str] = ()) -> bytes:
    """Return an ``.onnx`` file with its convolutions and matrix products in int8 (QDQ).

    Args:
        content: The file in float.
        images: Inputs to calibrate with.
        in_float: Names of modules that stay in float, such as those of blocks.
    """
    require_packages('deploy', 'onnx', 'onnxruntime')
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = onnx.load_from_string(content)
    name = model.graph.input[0].name
    batches = iter(images)

    class Reader(CalibrationDataReader):
        def get_next(self):
            image = next(batches, None)
            return None if image is None else {name: image}

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, out = (os.path.join(folder, f'{part}.onnx') for part in ('float', 'ready', 'int8'))
        onnx.save(model, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        nodes = [node.name for node in onnx.load(prepared).graph.node]
        quantize_static(
            prepared,
            out,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_exclude=[node for node in nodes if set(node.split('/')) & set(in_float)],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        result = onnx.load(out)
    onnx.helper.set_model_props(result, {entry.key: entry.value for entry in model.metadata_props})
    return result.SerializeToString()
