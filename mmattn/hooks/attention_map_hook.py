"""Draw attention on validation images at every evaluation."""

from __future__ import annotations

import numpy as np
from mmengine.dist import is_main_process
from mmengine.fileio import get
from mmengine.hooks import Hook

from mmattn.hooks._checks import is_between, require
from mmattn.hooks.model import model_of, require_sources
from mmattn.registry import HOOKS
from mmattn.visualization import contact_sheet, evenly_spread, inspect_image
from mmattn.visualization.image_files import output_names
from mmattn.wanted import is_whole


@HOOKS.register_module()
class AttentionMapHook(Hook):
    """Draw attention on a few validation images, the same ones at every evaluation.

    Each image's contact sheet, as ``tools/show_attention.py`` draws it, goes to every visualization backend
    as ``attention_NAME``. With an ``EMAHook``, the sheet shows the averaged weights, which are evaluated::

        custom_hooks = [dict(type='mmattn.AttentionMapHook', pictures=4)]

    Args:
        pictures: Number of images, evenly spread over the validation set, or a list of their indices.
        sites: Globs of the sites to draw; by default all sites that have gates.
        score_thr: Leave out detections with a lower score.
        dpi: Pixels per inch; a sheet is 15 inches wide.
        backend_args: Storage backend of the images, as in MMDetection's ``DetVisualizationHook``.

    Raises:
        ValueError: Before training, if no site has gates, a glob matches none, or the validation set has no
            image with one of the indices.
    """

    priority = 'ABOVE_NORMAL'  # before EMAHook restores the weights being trained

    def __init__(
        self,
        pictures: int | list[int] = 4,
        sites: list[str] | None = None,
        score_thr: float = 0.3,
        dpi: int = 60,
        backend_args: dict | None = None,
    ):
        indices = isinstance(pictures, (list, tuple)) and pictures and all(is_whole(i, 0) for i in pictures)
        if not (is_whole(pictures, 1) or indices):
            raise ValueError(
                f'AttentionMapHook: pictures={pictures!r}; give the number of images, a '
                'positive integer, or a list of indices from 0'
            )
        globs = sites is None or isinstance(sites, (list, tuple)) and all(isinstance(s, str) for s in sites)
        require(self, 'sites', sites, globs, 'a list of globs, or None for all sites')
        require(self, 'score_thr', score_thr, is_between(score_thr, 0, 1), 'a number from 0 to 1')
        require(self, 'dpi', dpi, is_between(dpi, 1), 'a number from 1 on')
        storage = backend_args is None or isinstance(backend_args, dict)
        require(self, 'backend_args', backend_args, storage, 'a dict, or None')
        self.pictures = pictures
        self.sites = sites or []
        self.score_thr = score_thr
        self.dpi = dpi
        self.backend_args = backend_args

    def before_train(self, runner) -> None:
        require_sources(self, runner, self.sites)
        if isinstance(self.pictures, (list, tuple)) and runner.val_loop is not None:
            number = len(runner.val_dataloader.dataset)
            if max(self.pictures) >= number:
                raise ValueError(
                    f'AttentionMapHook: pictures={self.pictures}, and the validation set has '
                    f'{number} images: the last index is {number - 1}'
                )

    def after_val_epoch(self, runner, metrics=None) -> None:
        if not is_main_process():
            return
        from mmcv import imfrombytes  # imported here because the other hooks do not need MMCV

        sources = require_sources(self, runner, self.sites)
        dataset = runner.val_dataloader.dataset
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes', ())
        for name, data in self._data(dataset):
            path = data['data_samples'][0].img_path
            image = imfrombytes(get(path, self.backend_args), channel_order='rgb')
            inspection = inspect_image(model_of(runner), image, data, name, classes, self.score_thr, sources)
            figure = contact_sheet({'': inspection}, f'iteration {runner.iter}')
            figure.set_dpi(self.dpi)
            figure.canvas.draw()
            pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
            runner.visualizer.add_image(f'attention_{name}', np.ascontiguousarray(pixels), step=runner.iter)

    def _data(self, dataset) -> list[tuple[str, dict]]:
        """Load each image anew, because detectors write into data samples; return its name and batch."""
        if isinstance(self.pictures, int):
            chosen = evenly_spread(list(range(len(dataset))), self.pictures)
        else:
            chosen = self.pictures
        packed = [dataset[i] for i in chosen]
        names = output_names([each['data_samples'].img_path for each in packed])
        return [(name, {key: [value] for key, value in each.items()}) for name, each in zip(names, packed)]
