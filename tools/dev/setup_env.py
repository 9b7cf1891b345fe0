"""Make the virtual environment in which this project is developed and demonstrated.

    python3 tools/dev/setup_env.py .venv

pip skips every step that is done already, so another run after a change or an interruption takes
seconds. It needs nothing but the standard library. `make setup` calls it.

Environment: TORCH_SPEC, the arguments of pip install for PyTorch (for example
"torch==2.13.0 --index-url URL" with the URL of PyTorch's install selector). A PyTorch that is in
the environment already is kept. FAMILY, which of the two families of MMEngine, mmcv and MMDetection:
onedl (the forks, by default) or openmmlab (upstream).
"""

import os
import shlex
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'
# MMEngine and mmcv of each family; requirements/FAMILY.txt lists the whole.
FAMILIES = {'onedl': ('onedl-mmengine', 'onedl-mmcv'), 'openmmlab': ('mmengine', 'mmcv')}


class StepFailed(RuntimeError):
    """A step failed; ``remedy`` replaces the step's usual advice if that does not fit."""

    def __init__(self, text, remedy=None):
        super().__init__(text)
        self.remedy = remedy


class Setup:
    def __init__(self, folder, family='onedl'):
        self.folder = folder
        self.family = family
        self.mmengine, self.mmcv = FAMILIES[family]
        self.python = folder / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
        self.steps = [
            # (what, how long it usually takes on two cores, the step, what to do when it fails)
            (
                'virtual environment',
                '10 s',
                self.make_venv,
                'the interpreter needs the modules venv and ensurepip (Debian, Ubuntu: apt-get '
                'install python3-venv); choose another one with PYTHON=/path/to/python3.11',
            ),
            (
                'PyTorch',
                '1 min, more where a GPU build is downloaded',
                self.install_torch,
                "no network or the wrong build: name what pip should install, as PyTorch's own "
                'install selector prints it: make setup TORCH_SPEC="torch==2.13.0 --index-url ..."',
            ),
            ('build tools, MMEngine', '20 s', self.install_base, None),
            (
                'mmcv with compiled ops',
                '5 min when built, seconds when the wheel was kept',
                self.install_mmcv,
                None,
            ),
            ('MMDetection, pytest', '30 s', self.install_rest, None),
            ('mmattn, editable', '5 s', self.install_mmattn, None),
        ]

    def run(self):
        began = time.monotonic()
        for number, (what, usual, step, remedy) in enumerate(self.steps, 1):
            say(f'[{number}/{len(self.steps)}] {what} (usually {usual})')
            step_began = time.monotonic()
            try:
                step()
            except (subprocess.CalledProcessError, OSError, StepFailed) as error:
                fail(what, error, getattr(error, 'remedy', None) or remedy)
            say(f'      done in {time.monotonic() - step_began:.0f} s')
        (self.folder / '.mmattn-ready').touch()
        say(f'set-up done in {time.monotonic() - began:.0f} s: {self.folder}')
        activate = shlex.quote(str(self.python.with_name('activate')))
        say(f'To work in it:  . {activate}   and then, for example:  python tools/train.py --help')

    def call(self, *args):
        subprocess.run([str(self.python), *map(str, args)], check=True, cwd=ROOT)

    def pip(self, *args):
        constraints = ['-c', REQUIREMENTS / 'constraints.txt']
        if self.torch_pin().is_file():
            constraints += ['-c', self.torch_pin()]
        self.call('-m', 'pip', '--disable-pip-version-check', 'install', '--quiet', *args, *constraints)

    def torch_pin(self):
        """Return the file of a constraint: later steps keep the PyTorch that mmcv is compiled against."""
        return self.folder / 'torch-constraint.txt'

    def make_venv(self):
        if self.has_pip():
            return
        # Its making was interrupted, or its interpreter is gone.
        broken = self.folder.is_dir() and any(self.folder.iterdir())
        if broken:
            self.check_that_nothing_is_lost()
            say(f'      {self.folder} has no working pip: making it anew')
        if sys.version_info < (3, 10):  # noqa: UP036, this runs on any
            raise StepFailed(
                f'{sys.executable} is Python {sys.version.split()[0]}; mmattn and the onedl-* packages '
                'need 3.10 or later, and 3.11 is what was tested',
                'choose another one: make setup PYTHON=/path/to/python3.11',
            )
        venv.create(self.folder, with_pip=True, clear=broken)

    def has_pip(self):
        if not self.python.is_file():
            return False
        check = [str(self.python), '-m', 'pip', '--version']
        return subprocess.run(check, capture_output=True).returncode == 0

    def check_that_nothing_is_lost(self):
        """Raise ``StepFailed`` if the folder holds anything that venv itself did not put there."""
        if not (self.folder / 'pyvenv.cfg').is_file():
            raise StepFailed(
                f'{self.folder} is not empty, and not a virtual environment',
                'name another place: make setup VENV=/path',
            )
        own = ('_', '.', 'pip', 'setuptools', 'pkg_resources', 'distutils-precedence')
        for site in [*self.folder.glob('lib/python*/site-packages'), *self.folder.glob('Lib/site-packages')]:
            for path in site.iterdir():
                if not path.name.startswith(own):
                    raise StepFailed(
                        f'{self.folder} has packages ({path.name}, ...), but no working pip',
                        f'{self.python} -m ensurepip, or have all of it made anew: make clean-env',
                    )

    def installed_torch(self):
        """Return the version by which pip knows a PyTorch that can be imported; else ``None``."""
        # PyPI's own build for CUDA says 2.13.0+cu130 of itself, and is 2.13.0 to pip.
        code = 'import torch; from importlib.metadata import version; print(version("torch"))'
        done = subprocess.run([str(self.python), '-c', code], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    def install_torch(self):
        version = self.installed_torch()
        if version is None:
            self.torch_pin().unlink(missing_ok=True)
            spec = shlex.split(os.environ.get('TORCH_SPEC') or '')
            self.pip(*(spec or ['-r', REQUIREMENTS / 'torch.txt']))
            version = self.installed_torch()
            if version is None:
                raise StepFailed('PyTorch was installed, but `import torch` fails')
        self.torch_pin().write_text(f'torch=={version}\n')
        say(f'      PyTorch {version}')

    def install_base(self):
        self.check_that_families_are_not_mixed()
        # mmcv cannot be imported without MMEngine and OpenCV, so they precede its check.
        self.pip(
            '-r',
            REQUIREMENTS / 'build.txt',
            '-r',
            REQUIREMENTS / 'runtime.txt',
            self.mmengine,
            'opencv-python',
        )
        self.fix_opencv()

    def install_mmcv(self):
        self.call(ROOT / 'tools/dev/build_mmcv.py', '--package', self.mmcv)

    def install_rest(self):
        lists = [f'-r{REQUIREMENTS / name}.txt' for name in (self.family, 'tests', 'docs')]
        self.pip(*lists)
        self.fix_opencv()

    def check_that_families_are_not_mixed(self):
        """Raise ``StepFailed`` if the other family is there: both import under the same names."""
        for other, packages in FAMILIES.items():
            names = [] if other == self.family else self.installed(packages)
            if names:
                raise StepFailed(
                    f'FAMILY={self.family} was asked for, but {self.folder} has {" and ".join(names)}',
                    f'go on with FAMILY={other}, or have all of it made anew: make clean-env',
                )

    def installed(self, packages):
        """Return those of these distributions that the environment has."""
        code = (
            'import sys; from importlib.metadata import distributions; '
            'names = {str(d.metadata["Name"]).lower().replace("_", "-") for d in distributions()}; '
            'print(*names & set(sys.argv[1:]))'
        )
        done = subprocess.run([str(self.python), '-c', code, *packages], capture_output=True, text=True)
        return sorted(done.stdout.split())

    def fix_opencv(self):
        """Install the headless OpenCV if the full one does not import: a desktop's libGL is missing."""
        check = [str(self.python), '-c', 'import cv2']
        if subprocess.run(check, capture_output=True).returncode:
            say('      OpenCV does not import here (no libGL?): taking the headless build')
            self.pip('--no-deps', '--force-reinstall', 'opencv-python-headless')
            subprocess.run(check, check=True)

    def install_mmattn(self):
        self.pip('--no-deps', '--no-build-isolation', '--editable', ROOT)


def say(text):
    print(text, flush=True)


def fail(what, error, remedy):
    lines = [f'\nset-up FAILED at: {what}', f'  {error}']
    if remedy:
        lines.append(f'  What to do: {remedy}.')
    lines += [
        '  Then run the same command again: what is done is not done twice. From the start: make clean-env.',
        '  Or use an environment that has the packages: make ... USE_ENV=/path/to/environment',
    ]
    sys.exit('\n'.join(lines))


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith('-'):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    family = os.environ.get('FAMILY') or 'onedl'
    if family not in FAMILIES:
        sys.exit(f'FAMILY={family}: there are {" and ".join(FAMILIES)}')
    try:
        Setup(Path(sys.argv[1]).absolute(), family).run()
    except KeyboardInterrupt:
        sys.exit('\nset-up interrupted: the same command goes on from here')


if __name__ == '__main__':
    main()
