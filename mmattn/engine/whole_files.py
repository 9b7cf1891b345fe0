"""Let MMEngine write its files whole: checkpoints, predictions, results in JSON, images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio.io import backend_instances
from mmengine.registry import VISBACKENDS
from mmengine.visualization import vis_backend

from mmattn._private_apis import image_folder
from mmattn.files import write_file


class WholeFileBackend(LocalBackend):
    """MMEngine's backend for local files, of which none is ever half written."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        os.makedirs(os.path.dirname(filepath) or '.', exist_ok=True)
        write_file(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)


class LocalVisBackend(vis_backend.LocalVisBackend):  # a visualizer finds its backends by their class names
    """MMEngine's visualization backend for local files, with images that are never half written."""

    @vis_backend.force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        folder = image_folder(self)
        path = os.path.join(folder, f'{name}_{step}.png')
        done, data = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if not done:
            raise OSError(f'OpenCV could not encode {path}')
        os.makedirs(folder, exist_ok=True)
        write_file(path, data.tobytes())


def use_whole_files() -> None:
    """Put the two backends in the place of MMEngine's own in this process; a second call changes nothing.

    All of MMEngine, MMCV and MMDetection that writes through a file backend, or draws through
    ``LocalVisBackend``, then writes beside the place of a file and renames.
    """
    register_backend('local', WholeFileBackend, force=True, prefixes='')
    for key in [key for key, backend in backend_instances.items() if type(backend) is LocalBackend]:
        del backend_instances[key]
    VISBACKENDS.register_module(name='LocalVisBackend', force=True, module=LocalVisBackend)
