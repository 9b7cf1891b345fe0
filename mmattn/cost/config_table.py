"""What each config builds: the figures in the headers of configs/ and in docs/configs.md."""

from dataclasses import dataclass
from pathlib import Path

from mmattn.engine.build_model import build_model


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
