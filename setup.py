"""Packaging: metadata, extras, and the folder `.mim` that OpenMIM looks into."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def read(path):
    return (ROOT / path).read_text(encoding='utf-8')


def requirements(name):
    lines = read(f'requirements/{name}.txt').splitlines()
    lines = (line.partition('#')[0].strip() for line in lines)
    return [line for line in lines if line]


class BuildWithMim(build_py):
    """Put configs, tools and model-index.yml under mmattn/.mim, where `mim` expects them.

    Only in what is built: an editable install needs no copies, since the source tree has all three
    in its root, where `mim` looks next.
    """

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):
            return
        mim = Path(self.build_lib) / 'mmattn' / '.mim'
        shutil.rmtree(mim, ignore_errors=True)  # files of an earlier build may be gone since
        ignore = shutil.ignore_patterns('__pycache__', '*.pyc', 'dev')
        for folder in ('configs', 'tools'):
            shutil.copytree(ROOT / folder, mim / folder, ignore=ignore)
        shutil.copy2(ROOT / 'model-index.yml', mim)


setup(
    name='mmattn',
    version=re.search(r"__version__ = '(.+)'", read('mmattn/version.py')).group(1),
    description='Attention (SE, ECA, CBAM, ...) for MMDetection detectors, inserted by config',
    long_description=read('README.md') if (ROOT / 'README.md').is_file() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='object detection, attention, MMDetection, CBAM, SE, ECA',
    classifiers=[
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    packages=find_packages(include=['mmattn', 'mmattn.*']),
    package_data={
        'mmattn.checkpoints.convert': ['*.json'],
        'mmattn.ops.backends.cpu': ['*.c', '*.h'],
    },
    python_requires='>=3.10',
    # Neither OpenMMLab's packages nor their forks: both import as mmengine, mmcv and mmdet and
    # overwrite each other, so which of them is a choice (an extra), never a side effect.
    install_requires=requirements('runtime'),
    extras_require={
        name: requirements(name)
        for name in ('onedl', 'openmmlab', 'study', 'deploy', 'prune', 'tests', 'docs')
    },
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
