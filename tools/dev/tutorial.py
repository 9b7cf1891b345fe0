#!/usr/bin/env python
"""Execute the tutorial notebook and keep its outputs, with a hash of the cells that they belong to.

python tools/dev/tutorial.py          # some minutes; needs requirements/tests.txt
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / 'demo/mmattn_tutorial.ipynb'
LIMIT = 400_000
"""Bytes that the notebook may have with its outputs."""


def read(path: Path = NOTEBOOK) -> dict[str, Any]:
    """Return a notebook as its JSON says."""
    return json.loads(path.read_text(encoding='utf-8'))


def source_of(cell: Mapping[str, Any]) -> str:
    """Return the text of a cell."""
    return ''.join(cell['source'])


def source_hash(notebook: Mapping[str, Any]) -> str:
    """Return a hash of all code cells."""
    code = [source_of(cell) for cell in notebook['cells'] if cell['cell_type'] == 'code']
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def printed(cell: Mapping[str, Any], stream: str = 'stdout') -> str:
    """Return what a cell printed."""
    found = [each for each in cell.get('outputs', ()) if each['output_type'] == 'stream']
    return ''.join(''.join(each['text']) for each in found if each['name'] == stream)


def execute(out: Path, **parameters: Any) -> dict[str, Any]:
    """Execute the notebook in its folder, as Jupyter does.

    Args:
        out: Where the executed one goes.
        **parameters: Other values for those in the cell with the tag ``parameters``.
    """
    from papermill import execute_notebook

    execute_notebook(
        NOTEBOOK, out, parameters, kernel_name='python3', cwd=NOTEBOOK.parent, progress_bar=False
    )
    return read(out)


def keep_outputs(executed: dict[str, Any]) -> str:
    """Return the text of the notebook with its outputs, and without what another run would change."""
    notebook = read()
    outputs = {cell['id']: cell for cell in executed['cells']}
    for cell in notebook['cells']:
        if cell['cell_type'] == 'code':
            done = outputs[cell['id']]
            cell |= dict(execution_count=done['execution_count'], outputs=done['outputs'])
    notebook['metadata']['mmattn'] = dict(source=source_hash(notebook))
    return json.dumps(notebook, indent=1, ensure_ascii=False) + '\n'


def main() -> None:
    argparse.ArgumentParser(description=__doc__.partition('\n')[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = keep_outputs(execute(Path(folder, 'executed.ipynb')))
    if len(text.encode()) > LIMIT:
        raise SystemExit(f'{NOTEBOOK.name} would have {len(text.encode()):,} bytes, more than {LIMIT:,}')
    NOTEBOOK.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
