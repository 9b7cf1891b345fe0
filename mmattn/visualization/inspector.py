"""A trained detector, built from a config and a checkpoint, that inspects image files."""

from __future__ import annotations

import cv2
import mmcv
from mmdet.registry import DATASETS
from mmdet.utils import get_test_pipeline_cfg
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from mmattn.engine.data import image_paths
from mmattn.engine.data.image_loader import transform_name
from mmattn.engine.data_root import DATA_ROOT_VARIABLE
from mmattn.engine.trained import trained_detector
from mmattn.visualization.inspection import ImageInspection, inspect_image
from mmattn.visualization.sources import gate_sources


class UnreadableImage(ValueError):
    """A file that cannot be read as an image."""


class Inspector:
    """A trained detector, or a model of another codebase, that inspects images.

    Args:
        config: Config file, as MMDetection's tools take it.
        checkpoint: Checkpoint file. A warning says if its attention differs from the model's.
        data_root: Folder of the data set; see :func:`~mmattn.engine.data_root.load_config`.
        cfg_options: Changes to the config.
        device: Device to run on.
        score_thr: Leave out detections with a lower score.
        cam_layer: Also compute Grad-CAM at this module.
        num_cams: Compute Grad-CAM for at most this many detections.
        trust_checkpoint: Let the checkpoint run code, see :func:`~mmattn.checkpoints.refuse_code`.

    Raises:
        FileNotFoundError: If there is no such checkpoint file.
        UntrustedCheckpoint: If the file would run code.
        ValueError: If the file cannot be read as a checkpoint.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str,
        data_root: str | None = None,
        cfg_options: dict | None = None,
        device: str = 'cpu',
        score_thr: float = 0.3,
        cam_layer: str = '',
        num_cams: int = 3,
        trust_checkpoint: bool = False,
    ):
        self.cfg, self.model = trained_detector(
            config, checkpoint, data_root, cfg_options, device, trust_checkpoint
        )
        self.sources = gate_sources(self.model)
        self.score_thr = score_thr
        self.cam_layer = cam_layer
        self.num_cams = num_cams
        self._pipeline = None

    def inspect(self, path: str, name: str) -> ImageInspection:
        """Inspect the image file at ``path``.

        Raises:
            UnreadableImage: If the file cannot be read as an image.
        """
        if self._pipeline is None:
            # An image file has no annotations, and MMSegmentation's transform asks for them.
            own = get_test_pipeline_cfg(self.cfg)
            self._pipeline = Compose([each for each in own if transform_name(each) != 'LoadAnnotations'])
        try:
            image = mmcv.imread(path)
        except cv2.error:  # an empty file
            image = None
        if image is None:
            raise UnreadableImage(f"'{path}' cannot be read as an image")
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope') or 'mmdet'):
            packed = self._pipeline(dict(img_path=path, img_id=0))
        return inspect_image(
            self.model,
            image[..., ::-1],  # BGR to RGB
            dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]),
            name,
            self.model.dataset_meta['classes'],
            self.score_thr,
            self.sources,
            self.cam_layer,
            self.num_cams,
        )

    def dataset_images(self, split: str) -> list[str]:
        """Return the paths of the images in the config's ``'train'``, ``'val'`` or ``'test'`` data set.

        Raises:
            ValueError: If the config has no such data set.
            FileNotFoundError: If a file of the data set is missing.
        """
        loader = self.cfg.get(f'{split}_dataloader')
        if loader is None:
            raise ValueError(f'--dataset {split}: the config has no {split}_dataloader')
        if paths := image_paths(self.cfg, split):
            return paths
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope') or 'mmdet'):
            try:
                dataset = DATASETS.build(loader.dataset)
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f'--dataset {split}: {error}. Set the data root with --data-root or {DATA_ROOT_VARIABLE}'
                ) from error
        while hasattr(dataset, 'dataset'):  # a wrapper that repeats or mixes
            dataset = dataset.dataset
        return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
