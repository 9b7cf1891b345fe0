"""Count what each config builds: the numbers in the headers of configs/ and in docs/configs.md."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log
from torch import nn

from mmattn.engine.config_model import build_model


@dataclass(frozen=True)
class ConfigRow:
    """Parameters of the model that a config builds.

    Attributes:
        path: Path of the config.
        parameters: Number of parameters.
        trained: Number of parameters that train.
        attention: Number of parameters of inserted blocks.
        sites: Number of inserted blocks.
    """

    path: str
    parameters: int
    trained: int
    attention: int
    sites: int

    def header(self) -> str:
        """Return the line about cost in the config's header."""
        line = f'{_millions(self.parameters)} parameters, {_millions(self.trained)} of them trained'
        if self.path.endswith('_folder.py'):
            line = f'With 80 classes {line}'
        if self.sites:
            line += f'; attention: {self.attention:,} at {self.sites} site{"s" if self.sites > 1 else ""}'
        return f'{line}.'


def list_configs(folder: str | Path) -> list[str]:
    """Return the sorted paths, relative to ``folder``, of all configs there that can be run."""
    folder = Path(folder)
    found = sorted(path.relative_to(folder) for path in folder.rglob('*.py'))
    return [path.as_posix() for path in found if path.parts[0] not in ('_base_', 'studies')]


def config_row(model: nn.Module, path: str | Path) -> ConfigRow:
    """Count the parameters of a ``model`` that was built from the config at ``path``."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    attention = getattr(model, 'attention', None)
    blocks = [] if attention is None else list(attention.children())
    return ConfigRow(
        path=str(path),
        parameters=sum(size for size, _ in sizes),
        trained=sum(size for size, trained in sizes if trained),
        attention=sum(p.numel() for block in blocks for p in block.parameters()),
        sites=len(blocks),
    )


def configs_to_markdown(folder: str | Path) -> str:
    """Build all configs under ``folder`` one by one and return them as a Markdown table.

    Those of a codebase that is not installed are left out, and a warning says so.
    """
    lines = ['| config | parameters | trained | attention | sites |', '|---|---|---|---|---|']
    for path in list_configs(folder):
        try:
            row = config_row(build_model(str(Path(folder, path))), path)
        except ModuleNotFoundError as error:
            print_log(f'{path} is left out: {error}', logger='current', level=logging.WARNING)
            continue
        lines.append(
            f'| `{path}` | {_millions(row.parameters)} | {_millions(row.trained)} | '
            f'{row.attention:,} | {row.sites} |'
        )
    return '\n'.join(lines)


def _millions(number: int) -> str:
    return f'{number / 1e6:.2f} M'
