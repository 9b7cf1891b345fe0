"""What is installed of the packages this one stands on, and what to install when it is not.

The OpenMMLab packages come in two families that import under the same names: upstream (mmengine,
mmcv, mmdet) and the maintained forks (onedl-*). So mmattn depends on neither by name, and looks
here instead. Only metadata is read: nothing heavy is imported.
"""

import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

# Import name -> distributions that provide it: the recommended one first.
PROVIDERS = {
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
}


def installed(module):
    """Distributions that are installed and provide ``module``, as ``{name: version}``."""
    found = {}
    for name in PROVIDERS[module]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def importable(module):
    """Whether ``module`` can be found; it is not imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def missing_message(module, why):
    """What a user reads when ``module`` is not there."""
    return (
        f'{why} needs {module}, which is not installed. Install one family of the OpenMMLab '
        'packages, not both:\n'
        "  pip install 'mmattn[onedl]'       the maintained forks (recommended); mmcv's ops are "
        'compiled, docs/install.md says how to do that fast\n'
        "  pip install 'mmattn[openmmlab]'   the upstream packages, where there is a build of mmcv "
        'for your PyTorch\n'
        'In a checkout of mmattn, `make setup` does all of it.'
    )


def clash_message(module):
    """What to do when two distributions provide ``module``; ``None`` when at most one does."""
    found = installed(module)
    if len(found) < 2:
        return None
    listed = ' and '.join(f'{name} {number}' for name, number in found.items())
    keep = next(iter(found))
    return (
        f"{listed} are both installed and overwrite each other's files: what `import {module}` "
        'gives is a mixture of the two. Remove both and install one again:\n'
        f'  pip uninstall -y {" ".join(found)} && pip install {keep}=={found[keep]}'
    )


def require(module, why):
    """Raise an ``ImportError`` that says what to install, unless ``module`` is there.

    Args:
        module: ``'mmengine'``, ``'mmcv'`` or ``'mmdet'``.
        why: What needs it, for the message.
    """
    if not importable(module):
        raise ImportError(missing_message(module, why))


def check():
    """What ``import mmattn`` asks: MMEngine must be there, and no package twice.

    mmcv and mmdet are not asked for: blocks and ops work without them.
    """
    require('mmengine', 'mmattn')
    for module in PROVIDERS:
        message = clash_message(module)
        if message:
            warnings.warn(message, stacklevel=3)
