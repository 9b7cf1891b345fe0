"""Quantisation to int8: convolutions are, gates stay in float, the file knows what it is."""

import json

import numpy as np
import onnx
import pytest

from mmattn.export import ExportedDetector, export_file
from mmattn.export.whole_detector import gate_names


@pytest.mark.slow
def test_gates_stay_in_float(single_stage, tmp_path):
    file = str(tmp_path / 'int8.onnx')
    _, graph = export_file(*single_stage, file, int8=2)
    model = onnx.load(file)
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    names = set(gate_names(graph))
    assert len(names) == 8
    quantised = {True: 0, False: 0}
    for node in model.graph.node:
        if node.op_type in ('Conv', 'Gemm', 'MatMul'):
            of_gate = bool(names & set(node.name.split('/')))
            quantised[of_gate] += producers.get(node.input[0]) == 'DequantizeLinear'
    assert quantised[True] == 0 and quantised[False] > 20
    assert json.loads(model.metadata_props[0].value)['classes'] == ['bright', 'dark']
    dets, labels = ExportedDetector(file).detect(np.zeros((3, 96, 96), np.uint8))
    assert len(dets) == len(labels)


def test_what_cannot_be_quantised_is_said(single_stage, tmp_path):
    with pytest.raises(ValueError, match='--int8 quantises an .onnx file of the exporter torchscript'):
        export_file(*single_stage, str(tmp_path / 'a.pt2'), int8=2)
