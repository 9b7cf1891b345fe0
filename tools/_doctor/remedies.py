"""What tools/doctor.py tells its user to run, for each problem that it may find."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[2] / 'requirements'


def asked(name: str) -> str:
    """Return a package as the installed mmattn asks for it, quoted for a shell; else just its name."""
    try:
        lines = metadata.requires('mmattn') or []
    except metadata.PackageNotFoundError:
        lines = []
    return next((f"'{line.partition(';')[0].strip()}'" for line in lines if line.startswith(name)), name)


# MMEngine, mmcv and MMDetection of each family, as requirements/FAMILY.txt lists them.
FAMILIES = {
    'onedl': ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection'),
    'openmmlab': ('mmengine', 'mmcv', 'mmdet'),
}


def remedies(checkout: bool, family: str = 'onedl') -> dict[str, str]:
    """Return what to run for each problem; each can be pasted into a shell as it is.

    Args:
        checkout: True in a checkout, which has the pins and the builder of mmcv; a wheel has neither.
        family: The family of the OpenMMLab packages that is to be completed.
    """
    names = FAMILIES[family]
    # What saves and loads is MMEngine; no newer upstream version mends it, and the hook does.
    checkpoints = (
        "# write in each config: custom_hooks = [dict(type='mmattn.RefuseCodeHook')]   (docs/install.md)"
    )
    setuptools = "pip install 'setuptools<82'   # has pkg_resources, which upstream's MMEngine imports"
    if not checkout:
        mmengine, mmcv, mmdet = map(asked, names)
        # In an isolated build there is no PyTorch, and mmcv comes without ops and without a word.
        build = (
            'pip install setuptools wheel ninja packaging && '
            'pip install --no-build-isolation --no-cache-dir --no-binary ' + names[1]
        )
        return {
            'python': 'make an environment with Python 3.10 or later',
            'torch': f'pip install {asked("torch")}   '
            "# PyTorch's install selector names the build for your GPU",
            'mmengine': f'pip install {mmengine}',
            'mmcv': f'{build} {mmcv}   # compiles its ops',
            'ops': f'{build} --no-deps --force-reinstall {mmcv}   # compiles its ops',
            'mmdet': f'pip install {mmdet}',
            'cv2': 'pip install --no-deps --force-reinstall opencv-python-headless   # needs no libGL',
            'pycocotools': 'pip install pycocotools',
            'mmattn': 'pip install mmattn',
            'checkpoints': checkpoints,
            'setuptools': setuptools,
            'detector': f'{build} {mmengine} {mmcv} {mmdet}   # the versions above do not fit together',
        }
    pip = 'pip install -c requirements/constraints.txt'
    torch = next(
        line for line in (REQUIREMENTS / 'torch.txt').read_text().splitlines() if line.startswith('torch')
    )
    return {
        'python': 'make setup PYTHON=python3.11',
        'torch': f"pip install '{torch}'   # PyTorch's install selector names the build for your GPU",
        'mmengine': f'{pip} {names[0]}',
        'mmcv': 'python tools/dev/build_mmcv.py',
        'ops': 'python tools/dev/build_mmcv.py --force',
        'mmdet': f'{pip} {names[2]}',
        'cv2': f'{pip} --no-deps --force-reinstall opencv-python-headless   # needs no libGL',
        'pycocotools': f'{pip} pycocotools',
        'mmattn': 'pip install --no-deps --no-build-isolation -e .',
        'checkpoints': checkpoints,
        'setuptools': setuptools,
        'detector': f'{pip} -r requirements/{family}.txt   '
        '# or make setup: the versions above do not fit together',
    }
