"""The reference: a page for each package, with every name in its ``__all__``."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ORDER = (
    'mmattn', 'insertion', 'blocks', 'hooks', 'checkpoints', 'checkpoints.convert', 'engine', 'engine.data',
    'datasets', 'cost', 'visualization', 'study', 'study.statistics', 'study.comparison', 'study.evaluation',
    'study.report', 'export', 'pruning', 'demo', 'ops',
)  # fmt: skip
"""What a user needs first comes first; packages that are not named here come last."""


def public_names() -> dict[str, list[str]]:
    """Return the names in ``__all__`` of each package that has any, by the package's dotted name."""
    found = {}
    for path in (ROOT / 'mmattn').rglob('__init__.py'):
        names = _all_of(ast.parse(path.read_text(encoding='utf-8')))
        if names and '.mim' not in path.parts:
            found['.'.join(path.parent.relative_to(ROOT).parts)] = names
    return dict(sorted(found.items(), key=lambda item: (_rank(item[0]), item[0])))


def _rank(package: str) -> int:
    short = package.removeprefix('mmattn.')
    return ORDER.index(short) if short in ORDER else len(ORDER)


def _all_of(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == '__all__':
            return [name for name in ast.literal_eval(node.value) if not name.startswith('__')]
    return []


def nav() -> list[dict[str, str]]:
    return [{package: _path(package)} for package in public_names()]


def pages() -> dict[str, str]:
    """Return the pages, by their path in the site; mkdocstrings replaces each ``:::``."""
    return {_path(package): _page(package, names) for package, names in public_names().items()}


def _path(package: str) -> str:
    return f'reference/{package}.md'


def _page(package: str, names: list[str]) -> str:
    tree = ast.parse((ROOT / Path(*package.split('.')) / '__init__.py').read_text(encoding='utf-8'))
    about = ast.get_docstring(tree).replace('``', '`')
    entries = [f'::: {package}.{name}' for name in sorted(names, key=str.lower)]
    return '\n\n'.join([f'# {package}', about, *entries]) + '\n'
