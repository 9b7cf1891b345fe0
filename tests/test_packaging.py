"""What is shipped, and that it works where it is installed."""
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'


def requirements(name):
    lines = (line.partition('#')[0].strip() for line in
             (REQUIREMENTS / f'{name}.txt').read_text().splitlines())
    return {req.name: req for req in map(Requirement, filter(None, lines))}


def make(*args):
    env = {key: value for key, value in os.environ.items() if not key.startswith('MAKE')}
    return subprocess.run(['make', *args], cwd=ROOT, env=env, capture_output=True, text=True)


def test_pins_are_within_what_the_lists_ask_for():
    pins = requirements('constraints')
    for name in ('onedl', 'tests', 'build', 'runtime'):
        for asked in requirements(name).values():
            if asked.name == 'torch':
                continue
            pin = next(iter(pins[asked.name].specifier))
            assert pin.operator == '==' and asked.specifier.contains(pin.version), asked
    torch = next(iter(requirements('torch')['torch'].specifier))
    assert requirements('runtime')['torch'].specifier.contains(torch.version)
    assert 'torch' not in pins, 'a pin there would replace the PyTorch of an environment'


def test_the_package_asks_for_neither_family_by_itself():
    families = {*requirements('onedl'), *requirements('openmmlab')}
    assert not families & set(requirements('runtime'))
    assert not set(requirements('onedl')) & set(requirements('openmmlab'))


def test_model_index_names_every_metafile_and_they_name_configs():
    imports = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    metafiles = sorted(path.relative_to(ROOT).as_posix()
                       for path in ROOT.glob('configs/*/metafile.yml'))
    assert sorted(imports) == metafiles
    for metafile in metafiles:
        for model in yaml.safe_load((ROOT / metafile).read_text())['Models']:
            assert (ROOT / model['Config']).is_file(), f'{metafile}: {model["Name"]}'


def test_make_help_names_every_target():
    text = make().stdout
    targets = re.search(r'^\.PHONY: (.+)$', (ROOT / 'Makefile').read_text(), re.MULTILINE).group(1)
    for target in set(targets.split()) - {'help'}:
        assert f'make {target} ' in text


def test_make_with_an_environment_that_is_not_there():
    done = make('test', 'USE_ENV=/no/such/place')
    assert done.returncode == 2
    assert ('USE_ENV=/no/such/place: there is no /no/such/place/bin/python. Give the folder of a '
            'venv or conda environment, or leave USE_ENV out to have .venv made.') in done.stderr


def test_ci_keeps_its_own_wheels_and_is_executable():
    script = ROOT / '.ci' / 'run'
    assert os.access(script, os.X_OK)
    assert subprocess.run(['bash', '-n', str(script)]).returncode == 0


def tracked_files():
    """Files of this tree that git would carry to another machine."""
    done = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT,
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip('not a git checkout')
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """Python of a fresh environment with mmattn installed from a wheel made from the sdist."""
    folder = tmp_path_factory.mktemp('packaging')
    source = folder / 'source'
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    run = dict(check=True, stdout=subprocess.DEVNULL)
    code = 'import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])'
    subprocess.run([sys.executable, '-c', code, str(folder)], cwd=source, **run)
    with tarfile.open(next(folder.glob('*.tar.gz'))) as tar:
        tar.extractall(folder / 'sdist')
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
    subprocess.run([*pip, 'wheel', '--no-deps', '--no-build-isolation', '--no-index',
                    '-w', str(folder), str(next((folder / 'sdist').iterdir()))], **run)
    wheel = next(folder.glob('*.whl'))
    venv.create(folder / 'env')
    python = folder / 'env' / 'bin' / 'python'
    subprocess.run([*pip, '--python', str(python), 'install', '--no-deps', '--no-index',
                    str(wheel)], **run)
    # The heavy packages are borrowed. A path in a .pth file does not run the .pth files that lie
    # there, so an editable mmattn is not borrowed with them.
    site = next((folder / 'env').glob('lib/python*/site-packages'))
    (site / 'borrowed.pth').write_text(sysconfig.get_paths()['purelib'] + '\n')
    return python, wheel


def run_installed(python, code, cwd):
    env = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    done = subprocess.run([str(python), '-c', code], cwd=cwd, env=env,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_wheel_carries_everything(installed):
    names = set(zipfile.ZipFile(installed[1]).namelist())
    wanted = {'mmattn/.mim/model-index.yml'}
    for name in tracked_files():
        if name.startswith('mmattn/'):
            wanted.add(name)
        elif name.startswith('configs/') or name.startswith('tools/') and 'tools/dev/' not in name:
            wanted.add(f'mmattn/.mim/{name}')
    assert wanted - names == set()
    assert {name for name in names - wanted if '.dist-info/' not in name} == set()


@pytest.mark.slow
def test_the_wheel_works_from_another_folder(installed, tmp_path):
    python = installed[0]
    code = '''
from pathlib import Path
import mmattn
from mmattn.registry import MODELS
from mmengine.config import Config
print(mmattn.__file__)
print(MODELS.get('SE').__module__)
configs = Path(mmattn.__file__).parent / '.mim' / 'configs'
print(Config.fromfile(configs / 'cbam' / 'faster-rcnn_r50-cbam_fpn_1x_coco.py').model.type)
'''
    where, module, kind = run_installed(python, code, tmp_path)[-3:]
    assert Path(where).is_relative_to(python.parents[1])
    assert module.startswith('mmattn.blocks')
    assert kind == 'mmattn.WithAttention'


@pytest.mark.slow
def test_the_wheel_says_which_extras_there_are(installed):
    metadata = zipfile.ZipFile(installed[1])
    text = metadata.read(next(n for n in metadata.namelist() if n.endswith('/METADATA'))).decode()
    extras = re.findall(r'^Provides-Extra: (.+)$', text, re.MULTILINE)
    assert extras == ['onedl', 'openmmlab', 'tests']
    unconditional = re.findall(r'^Requires-Dist: ([^;\n]+)$', text, re.MULTILINE)
    assert {Requirement(line).name for line in unconditional} == {'torch', 'numpy'}


@pytest.mark.slow
def test_the_installed_tools_run(installed, tmp_path):
    code = '''
import subprocess, sys
from pathlib import Path
import mmattn
tools = Path(mmattn.__file__).parent / '.mim' / 'tools'
for name in ('train.py', 'test.py'):
    done = subprocess.run([sys.executable, str(tools / name), '--help'],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print('--work-dir' in done.stdout)
'''
    assert run_installed(installed[0], code, tmp_path)[-2:] == ['True', 'True']
