"""What attention looks at, evaluation after evaluation."""

from __future__ import annotations

import numpy as np
from mmengine.dist import is_main_process
from mmengine.fileio import get
from mmengine.hooks import Hook

from mmattn.hooks.model import model_of, require_sources
from mmattn.registry import HOOKS
from mmattn.visualization.image_files import evenly, file_names
from mmattn.visualization.inspection import look
from mmattn.visualization.sheet import contact_sheet


@HOOKS.register_module()
class AttentionMapHook(Hook):
    """Draw the attention on a few validation pictures, the same at each evaluation.

    To every visualisation backend, as ``attention_NAME`` of the picture: its detections, the gates of
    positions over it, the gates of channels, as ``tools/show_attention.py`` draws them. With an ``EMAHook``,
    those of the averaged weights, which are evaluated::

        custom_hooks = [dict(type='mmattn.AttentionMapHook', pictures=4)]

    Args:
        pictures: How many, evenly spread over the validation set; or which, as a list of indices.
        sites: Globs of the sites to draw, by default all that have gates.
        score_thr: Detections below it are left out.
        dpi: Pixels to an inch; a drawing is 15 inches wide.
        backend_args: For reading pictures that lie elsewhere, as in MMDetection's visualization hook.

    Raises:
        ValueError: Before training, where no site has a gate, a glob matches none, or there is no such
            picture.
    """

    priority = 'ABOVE_NORMAL'  # before EMAHook puts the training's weights back

    def __init__(
        self,
        pictures: int | list[int] = 4,
        sites: list[str] | None = None,
        score_thr: float = 0.3,
        dpi: int = 60,
        backend_args: dict | None = None,
    ):
        if not (
            _is_count(pictures)
            or isinstance(pictures, (list, tuple))
            and pictures
            and all(i == 0 or _is_count(i) for i in pictures)
        ):
            raise ValueError(
                f'AttentionMapHook: pictures={pictures!r}; it is how many, a positive integer, '
                'or a list of indices from 0'
            )
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
                    f'{number}: the last index is {number - 1}'
                )

    def after_val_epoch(self, runner, metrics=None) -> None:
        if not is_main_process():
            return
        from mmcv import imfrombytes  # here, so that the other hooks need no MMCV

        sources = require_sources(self, runner, self.sites)
        dataset = runner.val_dataloader.dataset
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes', ())
        for name, data in self._data(dataset):
            path = data['data_samples'][0].img_path
            picture = imfrombytes(get(path, self.backend_args), channel_order='rgb')
            seen = look(model_of(runner), picture, data, name, classes, self.score_thr, sources)
            figure = contact_sheet({'': seen}, f'iteration {runner.iter}')
            figure.set_dpi(self.dpi)
            figure.canvas.draw()
            pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
            runner.visualizer.add_image(f'attention_{name}', np.ascontiguousarray(pixels), step=runner.iter)

    def _data(self, dataset) -> list[tuple[str, dict]]:
        """Name and batch of each picture; a fresh one, as a detector writes into its data samples."""
        if isinstance(self.pictures, int):
            chosen = evenly(list(range(len(dataset))), self.pictures)
        else:
            chosen = self.pictures
        packed = [dataset[i] for i in chosen]
        names = file_names([each['data_samples'].img_path for each in packed])
        return [(name, {key: [value] for key, value in each.items()}) for name, each in zip(names, packed)]


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
