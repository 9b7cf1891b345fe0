"""What each config builds: the figures in the headers of configs/ and in docs/configs.md."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mmattn.engine.data_root import DATA_ROOT_VARIABLE, load_config


@dataclass(frozen=True)
class ConfigFacts:
    """Measured from the built model; numbers of parameters, not millions."""

    path: str
    parameters: int
    trained: int
    attention: int
    sites: int

    def cost(self):
        """The line that stands in the config's header."""
        line = f'{_millions(self.parameters)} parameters, {_millions(self.trained)} of them trained'
        if self.path.endswith('_folder.py'):
            line = f'With 80 classes {line}'
        if self.sites:
            line += f'; attention: {self.attention:,} at {self.sites} sites'
        return f'{line}.'


def list_configs(folder):
    """Paths of the runnable configs under a folder, sorted, relative to it, with / between."""
    folder = Path(folder)
    found = sorted(path.relative_to(folder) for path in folder.rglob('*.py'))
    return [path.as_posix() for path in found if path.parts[0] != '_base_']


def build_model(config, cfg_options=None):
    """Build a config's model without its pretrained weights.

    A config that reads classes from a folder gets one with COCO's 80 where no data root is set.
    """
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    if config.endswith('_folder.py') and DATA_ROOT_VARIABLE not in os.environ:
        with tempfile.TemporaryDirectory() as root:
            _write_classes(root)
            cfg = load_config(config, root, cfg_options)
    else:
        cfg = load_config(config, None, cfg_options)
    _drop_pretrained(cfg.model)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg.model)


def _drop_pretrained(node):
    """Of the backbone wherever it is: a semi-supervised detector has it in its ``detector``."""
    if isinstance(node, dict):
        if isinstance(node.get('backbone'), dict):
            node['backbone']['init_cfg'] = None
        node = node.values()
    if not isinstance(node, str) and hasattr(node, '__iter__'):
        for child in node:
            _drop_pretrained(child)


def count(model, path):
    """The :class:`ConfigFacts` of a model that :func:`build_model` built from ``path``."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    attention = getattr(model, 'attention', None)
    blocks = [] if attention is None else list(attention.children())
    return ConfigFacts(
        path=str(path),
        parameters=sum(size for size, _ in sizes),
        trained=sum(size for size, trained in sizes if trained),
        attention=sum(p.numel() for block in blocks for p in block.parameters()),
        sites=len(blocks),
    )


def _write_classes(root):
    from mmdet.datasets import CocoDataset

    path = Path(root, 'annotations', 'train.json')
    path.parent.mkdir()
    names = CocoDataset.METAINFO['classes']
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='none.jpg', width=1, height=1)],
                annotations=[],
                categories=[dict(id=i, name=name) for i, name in enumerate(names)],
            )
        ),
        encoding='utf-8',
    )


def _millions(number):
    return f'{number / 1e6:.2f} M'


def markdown_table(folder):
    """All configs under ``folder`` as a Markdown table, built one by one."""
    rows = ['| config | parameters | trained | attention | sites |', '|---|---|---|---|---|']
    for path in list_configs(folder):
        facts = count(build_model(str(Path(folder, path))), path)
        rows.append(
            f'| `{path}` | {_millions(facts.parameters)} | {_millions(facts.trained)} | '
            f'{facts.attention:,} | {facts.sites} |'
        )
    return '\n'.join(rows)
