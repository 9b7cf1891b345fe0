"""An exported detector in ONNX Runtime, as a model that MMEngine's loops take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import scale_boxes
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor

from mmattn.export.description import read_description
from mmattn.packages import require_packages


class ExportedDetector(BaseModel):
    """A detector that ``tools/export.py`` wrote as ``.onnx``.

    Images go in one by one, each padded to what the detector needs and no further.

    Args:
        file: The file.
        threads: Number of threads; 0: as many as ONNX Runtime takes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or was not written by ``tools/export.py``.
    """

    def __init__(self, file: str, threads: int = 0):
        super().__init__()
        self.file = file
        self.session = _session(file, threads)
        self.description = read_description(
            self.session.get_modelmeta().custom_metadata_map, file, _ends(self.session)
        )

    def require_classes(self, classes: Sequence[str]) -> None:
        """Raise ``ValueError`` unless the classes of a data set are those that the file detects."""
        own = self.description['classes']
        if list(classes) != own:
            raise ValueError(
                f"'{self.file}' detects {_listed(own)}, and the data has {_listed(classes)}: give the "
                'config of the detector that was exported, with its data'
            )

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``dets (K, 5)`` and ``labels (K,)`` of an image ``(3, H, W)`` of MMDetection's pipeline."""
        dets, labels = self.session.run(None, {_input(self.session): self.prepared(image)})
        found = labels[0] >= 0
        return dets[0][found], labels[0][found]

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """Return such an image as the file takes it: ``(1, 3, H, W)``, normalised if it does not do so."""
        image = image.astype(np.float32)
        settings = self.description['normalize']
        if not settings['inside']:
            if settings['channels'] == 'rgb':
                image = image[::-1]
            if settings['mean'] is not None:
                mean, std = (np.float32(settings[name]).reshape(-1, 1, 1) for name in ('mean', 'std'))
                image = (image - mean) / std
        return np.ascontiguousarray(image[None])

    def forward(
        self, inputs: Sequence[Tensor], data_samples: Sequence[DetDataSample], mode: str = 'predict'
    ) -> Sequence[DetDataSample]:
        """Return the samples with ``pred_instances``, in pixels of the original image."""
        if mode != 'predict':
            raise ValueError(f"an exported detector only predicts; mode was '{mode}'")
        for image, sample in zip(inputs, data_samples):
            dets, labels = (torch.from_numpy(each) for each in self.detect(image.cpu().numpy()))
            scale = [1 / each for each in sample.metainfo.get('scale_factor', (1, 1))]
            sample.pred_instances = InstanceData(
                bboxes=scale_boxes(dets[:, :4], scale), scores=dets[:, 4], labels=labels
            )
        return data_samples


_REMEDIES = {'NotImplemented': 'Export with a lower --opset, or update ONNX Runtime'}
"""What to do, by ONNX Runtime's class of the error."""


def _session(file: str, threads: int) -> Any:
    require_packages('deploy', 'onnxruntime')
    import onnxruntime

    if not os.path.isfile(file):
        raise FileNotFoundError(f"no file '{file}'; looked in {os.getcwd()}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(file, options, providers=['CPUExecutionProvider'])
    except Exception as error:  # its errors have no base class of their own
        text = ' '.join(str(error).split())
        remedy = _REMEDIES.get(type(error).__name__, 'If it was whole once, copy it again')
        raise ValueError(f"'{file}' cannot be read by ONNX Runtime: {text}. {remedy}") from error


def _input(session: Any) -> str:
    return session.get_inputs()[0].name


def _ends(session: Any) -> list[str]:
    return [
        f'{what} {each.name} {tuple(each.shape)}'
        for what, ends in (('input', session.get_inputs()), ('output', session.get_outputs()))
        for each in ends
    ]


def _listed(names: Sequence[str]) -> str:
    shown = ', '.join(map(str, names[:5])) + (', ...' if len(names) > 5 else '')
    return f'{len(names)} classes ({shown})'
