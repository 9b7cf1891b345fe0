"""From a config, a checkpoint and pictures to sheets, a page and arrays: ``tools/show_attention.py``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmdet.apis import init_detector
from mmdet.registry import DATASETS
from mmdet.utils import get_test_pipeline_cfg
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader
from mmengine.utils import ProgressBar

from mmattn.checkpoints import check_insertion
from mmattn.engine.data_root import load_config
from mmattn.visualization.gates import gate_sources, sources_at
from mmattn.visualization.image_files import file_names
from mmattn.visualization.inspection import Look, look
from mmattn.visualization.page import write_attention_page
from mmattn.visualization.sheet import FLAT, contact_sheet

PAGE = 'index.html'


class UnreadablePicture(ValueError):
    """A file that is no picture."""


class Viewer:
    """A detector that was trained, and a view into its attention.

    Args:
        config: Config file, as MMDetection's tools take it.
        checkpoint: Its weights; their attention is compared with the model's.
        data_root: Folder of the data set, see :func:`~mmattn.engine.data_root.load_config`.
        cfg_options: Changes to the config.
        device: Where to run it.
        score: Detections below it are left out.
        cam_layer: Also Grad-CAM at this module.
        cams: Of how many detections.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str,
        data_root: str | None = None,
        cfg_options: dict | None = None,
        device: str = 'cpu',
        score: float = 0.3,
        cam_layer: str = '',
        cams: int = 3,
    ):
        if '://' not in checkpoint and not os.path.isfile(checkpoint):
            raise FileNotFoundError(f"no checkpoint file '{checkpoint}'; looked in {os.getcwd()}")
        try:
            weights = CheckpointLoader.load_checkpoint(checkpoint, 'cpu')
        except Exception as error:  # whatever a file that is none may cause
            text = f'{type(error).__name__}: {error}'.partition('\n')[0]
            raise ValueError(f"'{checkpoint}' cannot be read as a checkpoint: {text}") from error
        self.cfg = load_config(config, data_root, cfg_options)
        self.model = init_detector(self.cfg, checkpoint, device=device)
        check_insertion(self.model, weights)
        self.sources = gate_sources(self.model)
        self.score = score
        self.cam_layer, self.cams = cam_layer, cams
        self._pipeline = None

    def look(self, path: str, name: str) -> Look:
        """What the detector sees in the picture at ``path``."""
        if self._pipeline is None:
            self._pipeline = Compose(get_test_pipeline_cfg(self.cfg))
        try:
            picture = mmcv.imread(path)
        except cv2.error:  # an empty file
            picture = None
        if picture is None:
            raise UnreadablePicture(f"'{path}' cannot be read as a picture")
        picture = picture[..., ::-1]  # RGB
        with DefaultScope.overwrite_default_scope('mmdet'):
            packed = self._pipeline(dict(img_path=path, img_id=0))
        data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
        return look(
            self.model,
            picture,
            data,
            name,
            self.model.dataset_meta['classes'],
            self.score,
            self.sources,
            self.cam_layer,
            self.cams,
        )

    def dataset_pictures(self, part: str) -> list[str]:
        """Paths of the pictures that the config evaluates on (``'val'``, ``'test'``) or trains with."""
        loader = self.cfg.get(f'{part}_dataloader')
        if loader is None:
            raise ValueError(f'--dataset {part}: the config has no {part}_dataloader')
        with DefaultScope.overwrite_default_scope('mmdet'):
            dataset = DATASETS.build(loader.dataset)
        while hasattr(dataset, 'dataset'):  # a wrapper that repeats or mixes
            dataset = dataset.dataset
        return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def show_attention(
    viewers: dict[str, Viewer],
    pictures: list[str],
    out_dir: str,
    globs: Sequence[str] = (),
    overwrite: bool = False,
    dpi: int = 80,
) -> list[str]:
    """Write a sheet and arrays for each picture, and a page for all.

    Args:
        viewers: One detector, or two to be put side by side, by what they are called.
        pictures: Paths.
        out_dir: Folder for ``NAME.png``, ``NAME.npz`` and ``index.html``.
        globs: Only sites at these.
        overwrite: Whether these may be there already.
        dpi: Pixels of the sheets to an inch.

    Returns:
        The files.

    Raises:
        FileExistsError: They are, and may not; or they would replace a picture.
        ValueError: No detector has an attention with gates, or none at a glob; or, after all others were
            shown, some files are no pictures.
    """
    if not any(viewer.sources for viewer in viewers.values()):
        raise ValueError(
            f'no attention with gates in {" or ".join(viewers)}: what adds to a map, as '
            'GlobalContext or NonLocal, or a module from elsewhere has none to show'
        )
    chosen = sources_at([viewer.model for viewer in viewers.values()], globs)
    for viewer, sources in zip(viewers.values(), chosen):
        viewer.sources = sources
    names = file_names(pictures)
    out = Path(out_dir)
    files = [out / f'{name}.{kind}' for name in names for kind in ('png', 'npz')] + [out / PAGE]
    there = [str(file) for file in files if file.exists()]
    if there and not overwrite:
        raise FileExistsError(f'{there[0]} exists already: give another --out-dir, or --overwrite')
    own = {os.path.realpath(path) for path in pictures}.intersection(os.path.realpath(file) for file in files)
    if own:
        raise FileExistsError(
            f'{sorted(own)[0]} is one of the pictures, and would be overwritten by its '
            'sheet: give another --out-dir'
        )
    out.mkdir(parents=True, exist_ok=True)
    unreadable = []

    def looks():
        progress = ProgressBar(len(pictures))
        for path, name in zip(pictures, names):
            try:
                seen = {model: viewer.look(path, os.path.basename(path)) for model, viewer in viewers.items()}
            except UnreadablePicture as error:  # the others are shown, and this one is told at the end
                unreadable.append(error)
                progress.update()
                continue
            contact_sheet(seen, title=' against '.join(viewers)).savefig(out / f'{name}.png', dpi=dpi)
            np.savez_compressed(out / f'{name}.npz', **arrays(seen))
            progress.update()
            yield seen
        print()

    write_attention_page(
        looks(),
        out / PAGE,
        ' against '.join(viewers),
        f'Colours of an overlay span the least to the greatest gate of its site on this picture, but at '
        f'least {FLAT:.0%} of the range that its gates have: read the figures beside them.',
    )
    if unreadable:
        raise ValueError(
            f'{"; ".join(map(str, unreadable))}. The other {len(pictures) - len(unreadable)} of '
            f'{len(pictures)} are in {out}'
        )
    return [str(file) for file in files]


def arrays(looks: dict[str, Look]) -> dict[str, np.ndarray]:
    """All numbers behind the pictures, by ``[MODEL/]SITE/KIND``; a batch of one picture is kept."""
    found = {}
    for model, seen in looks.items():
        prefix = f'{model}/' if len(looks) > 1 else ''
        for site in seen.sites:
            for kind, gate in site.gates.items():
                found[f'{prefix}{site.name}/{kind}'] = gate
        found[f'{prefix}detections/bboxes'] = seen.found.bboxes.numpy()
        found[f'{prefix}detections/scores'] = seen.found.scores.numpy()
        found[f'{prefix}detections/labels'] = seen.found.labels.numpy()
        found[f'{prefix}contrast'] = seen.contrast
        found[f'{prefix}contrast_sites'] = np.array([site.name for site in seen.overlaid], str)
        found[f'{prefix}picture'] = seen.picture
        for i, cam in enumerate(seen.cams):
            found[f'{prefix}grad_cam/{i}'] = cam
    return found


def model_name(config: str) -> str:
    """What a detector is called: its config, without folder and ending."""
    return os.path.splitext(os.path.basename(config))[0]
