"""Images of a config's data, as its pipeline prepares them."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmattn.engine.data_root import DATA_ROOT_VARIABLE
from mmattn.engine.mistakes import user_input


def images(cfg: Config, count: int = 0, part: str = 'test') -> Iterator[dict]:
    """Yield images of a config's data in batches of one, evenly spread; all if ``count`` is 0."""
    from mmdet.registry import DATASETS

    if not cfg.get(f'{part}_dataloader'):
        raise ValueError(f'the config has no {part}_dataloader, whose images are asked for here')
    with user_input(), DefaultScope.overwrite_default_scope('mmdet'):
        try:
            dataset = DATASETS.build(cfg[f'{part}_dataloader'].dataset)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{error}. Set the data root with --data-root or {DATA_ROOT_VARIABLE}'
            ) from error
    total = len(dataset)
    count = min(count or total, total)
    for i in range(count):
        yield pseudo_collate([dataset[i * total // count]])
