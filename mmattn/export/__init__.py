"""Whole detectors as graphs: one file of standard ONNX operators, or a program of ``torch.export``."""

from mmattn.export.agreement import Agreement
from mmattn.export.check import check_file
from mmattn.export.detector import DetectorGraph
from mmattn.export.exported import ExportedDetector
from mmattn.export.supported import CannotExport, detector_graph
from mmattn.export.whole_detector import export_file, onnx_bytes, program_bytes

__all__ = [
    'Agreement',
    'CannotExport',
    'DetectorGraph',
    'ExportedDetector',
    'check_file',
    'detector_graph',
    'export_file',
    'onnx_bytes',
    'program_bytes',
]
