"""Convert files: read, convert, write, and say what was done."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from mmattn.checkpoints.convert.compare_stages import verify
from mmattn.checkpoints.convert.conversion import Conversion, convert
from mmattn.checkpoints.convert.errors import NotConverted
from mmattn.checkpoints.convert.fragment import fragment
from mmattn.checkpoints.convert.source_file import read_source, sha256_of
from mmattn.checkpoints.convert.tables import VERSION
from mmattn.files import write_file
from mmattn.version import __version__


@dataclass(frozen=True)
class Converted:
    """A converted file.

    Attributes:
        conversion: The weights here.
        weights: Those of the source.
        text: What was done, and what to write in a config.
    """

    conversion: Conversion
    weights: dict[str, Tensor]
    text: str


def convert_file(
    source_path: str | os.PathLike,
    path: str | os.PathLike,
    source: str = 'auto',
    model: str | None = None,
    form: str = 'attention',
    overwrite: bool = False,
    compare: bool = False,
) -> Converted:
    """Convert a public checkpoint into one that MMEngine loads.

    Args:
        source_path: The checkpoint: safetensors, or a file of PyTorch's that runs no code.
        path: The file to write, ``*.pth``.
        source: The library that it comes from, or ``'auto'``.
        model: The name of the source model, where names and shapes do not tell it.
        form: Where the blocks go: ``'attention'`` for ``model.attention``, ``'plugins'`` for the backbone.
        overwrite: Replace an existing file.
        compare: Build the source model too and compare the stages, see
            :func:`~mmattn.checkpoints.convert.compare_stages.verify`, before anything is written.

    Raises:
        NotConverted: The checkpoint cannot be converted; nothing was written.
        ValueError: It cannot be read, or would run code.
        FileExistsError: ``path`` exists, and ``overwrite`` is False.
    """
    if not os.fspath(path).endswith('.pth'):
        raise NotConverted(f"'{path}' is to be written as MMEngine loads it: name it *.pth")
    weights = read_source(source_path)
    conversion = convert(weights, source, model, os.fspath(source_path))
    lines = [report(conversion)]
    if compare:
        worst = max(verify(conversion, weights))
        lines.append(f'verified: the four stages differ by at most {worst:.1e} of a map, in fp64')
    state = {key: value.clone() for key, value in conversion.state(form).items()}  # no views of larger memory
    config = fragment(conversion, os.fspath(path), form)
    origin = dict(
        file=os.path.basename(source_path),
        sha256=sha256_of(source_path),
        table=conversion.table.name,
        table_version=VERSION,
        model=conversion.model and f'{conversion.model.library} {conversion.model.name}',
        mmattn=__version__,
    )
    content = dict(meta=dict(converted_from=origin, fragment=config), state_dict=state)
    write_file(path, lambda file: torch.save(content, file), overwrite)
    return Converted(conversion, weights, '\n'.join([*lines, '', config]))


def report(conversion: Conversion) -> str:
    """Return what was done with the weights, a line each."""
    renamed = conversion.renamed
    same = sum(ours == theirs for ours, theirs in renamed.sources.items())
    why = ', '.join(dict.fromkeys(renamed.dropped.values()))
    model = f'{conversion.model.library} {conversion.model.name}' if conversion.model else 'no known model'
    types = ' and '.join(dict.fromkeys(block.type for block in conversion.blocks))
    lines = [
        f'source: {conversion.table.name}, {model}',
        f'same name: {same}',
        f'renamed: {len(renamed.sources) - same}'
        + (f' (with {len(conversion.blocks)} blocks: {types})' if types else ''),
        f'dropped on purpose: {len(renamed.dropped)}' + (f' ({why})' if why else ''),
        'missing: 0',
        'unexpected: 0',
    ]
    if renamed.added:
        lines.insert(3, f'added: {len(renamed.added)} (norms that change nothing: MMDetection has one there)')
    return '\n'.join(lines)
