"""The git commit of the mmattn that runs, to record beside what it has computed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
DIRTY = '-dirty'
"""End of a commit from which the files of the package differ, as ``git describe --dirty`` writes it."""


def source_commit(package: Path = PACKAGE) -> str | None:
    """Return the commit of a package that is imported from a git checkout, wherever the process runs.

    Args:
        package: Folder of the package. Only changes in it count: configs are recorded by their content.

    Returns:
        The commit, with :data:`DIRTY` at its end if the package has other files; None if it is no part of a
        git repository, as one that was installed, or there is no git.
    """
    try:
        _git(package, 'ls-files', '--error-unmatch', '__init__.py')  # not ignored, as .venv/ in a repository
        commit = _git(package, 'rev-parse', 'HEAD')
        changed = _git(package, 'status', '--porcelain', '--', '.')
    except (OSError, subprocess.SubprocessError):
        return None
    return f'{commit}{DIRTY}' if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    # in a hook of git, these name the repository of the hook
    environment = {name: value for name, value in os.environ.items() if not name.startswith('GIT_')}
    return subprocess.run(
        ['git', '--no-optional-locks', '-C', folder, *arguments],
        capture_output=True,
        check=True,
        env=environment,
        text=True,
        timeout=60,
    ).stdout.strip()
