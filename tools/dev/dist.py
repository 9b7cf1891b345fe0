"""Build the sdist and the wheel of the current commit into dist/, and try each where it is installed.

    python tools/dev/dist.py            # make dist

Built from the commit, so that nothing else in the folder gets in. twine checks both. Each is installed into a
fresh environment that borrows PyTorch and the OpenMMLab packages from the one that runs this, and there, away
from the checkout, the installed doctor trains a detector with attention for a step, and an installed tool
builds one from an installed config.

build and twine must be installed: pip install -c requirements/constraints.txt -r requirements/dist.txt
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / 'dist'
PIP = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
CONFIG = 'configs/shapes/faster-rcnn_r18-cbam_fpn_shapes.py'
WHERE = 'import mmattn; print(mmattn.__version__, mmattn.__file__, sep="\\n")'


def say(text):
    print(f'[dist] {text}', flush=True)


def git(*args):
    """Return what git says in this checkout."""
    return subprocess.run(['git', *args], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def clone(folder):
    """Put the files of the current commit into a folder; return its short hash."""
    commit = git('rev-parse', '--short', 'HEAD').strip()
    git('clone', '--quiet', '--no-checkout', str(ROOT), str(folder))
    git('-C', str(folder), 'checkout', '--quiet', '--detach', commit)
    return commit


def build(source, out):
    """Build the sdist, and the wheel from it; return both."""
    command = [sys.executable, '-m', 'build', '--no-isolation', '--outdir', str(out), str(source)]
    done = subprocess.run(command, cwd=out.parent, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'{done.stdout[-3000:]}{done.stderr[-3000:]}\n[dist] FAILED: see above')
    return sorted(out.iterdir())


def install(artifact, folder):
    """Install a wheel or an sdist into a fresh environment; return its Python.

    The heavy packages are borrowed. A path in a .pth file does not run the .pth files that lie there, so an
    editable mmattn is not borrowed with them.
    """
    venv.create(folder)
    python = folder / 'bin' / 'python'
    borrowed = [path for path in sys.path if Path(path).name in ('site-packages', 'dist-packages')]
    site = next(folder.glob('lib/python*/site-packages'))
    (site / 'borrowed.pth').write_text('\n'.join(borrowed) + '\n')
    options = ['--no-deps', '--no-index', '--no-build-isolation', '--force-reinstall', '--ignore-installed']
    subprocess.run([*PIP, '--python', str(python), 'install', *options, str(artifact)], check=True)
    return python


def run_installed(python, *args):
    """Run the environment's Python away from the checkout; return its output."""
    env = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(python), *map(str, args)], cwd=elsewhere, env=env, capture_output=True, text=True
        )
    if done.returncode:
        sys.exit(f'{done.stdout}{done.stderr}\n[dist] FAILED in the fresh environment: see above')
    return done.stdout


def smoke_test(python, version):
    """Use what is installed: import it, run the doctor's detectors, build a config's detector."""
    found, path = run_installed(python, '-c', WHERE).split()[-2:]
    mim = Path(path).parent / '.mim'
    if found != version or not Path(path).is_relative_to(python.parents[1]):
        sys.exit(f'[dist] FAILED: mmattn {found} of {path} is imported, and not the installed {version}')
    rows = json.loads(run_installed(python, mim / 'tools/doctor.py', '--json'))
    say(next(f'with attention: {row["found"]}' for row in rows if row['what'] == 'with attention'))
    sites = run_installed(python, mim / 'tools/sites.py', mim / CONFIG, 'neck.output', '--json')
    say(f'tools/sites.py on {CONFIG}: {len(json.loads(sites))} sites')


def main():
    argparse.ArgumentParser(description=__doc__.partition('\n')[0]).parse_args()
    changed = git('status', '--porcelain').splitlines()
    if changed:
        say(f'{len(changed)} files differ from the commit, and their changes are not in what is built')
    with tempfile.TemporaryDirectory(prefix='mmattn-dist-') as folder:
        folder = Path(folder)
        commit = clone(folder / 'source')
        (folder / 'out').mkdir()
        artifacts = build(folder / 'source', folder / 'out')
        subprocess.run([sys.executable, '-m', 'twine', 'check', '--strict', *map(str, artifacts)], check=True)
        version = artifacts[-1].name.split('-')[1].removesuffix('.tar.gz')
        for artifact in artifacts:
            say(f'{artifact.name}, {artifact.stat().st_size / 2**20:.1f} MiB, in a fresh environment')
            smoke_test(install(artifact, folder / f'env-{artifact.suffix[1:]}'), version)
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(folder / 'out', DIST)
    say(f'dist/ has {" and ".join(each.name for each in artifacts)} of commit {commit}')


if __name__ == '__main__':
    main()
