"""What is shipped, and that it works where it is installed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools/dev'))
import dist  # noqa: E402

REQUIREMENTS = ROOT / 'requirements'


def requirements(name):
    lines = (
        line.partition('#')[0].strip() for line in (REQUIREMENTS / f'{name}.txt').read_text().splitlines()
    )
    return {req.name: req for req in map(Requirement, filter(None, lines))}


def make(*args):
    """Run make as from a shell, and not as from the make that may run these tests with ARGS."""
    env = {key: value for key, value in os.environ.items() if not key.startswith('MAKE') and key != 'ARGS'}
    return subprocess.run(['make', *args], cwd=ROOT, env=env, capture_output=True, text=True)


def test_pins_are_within_what_the_lists_ask_for():
    pins = requirements('constraints')
    lists = 'onedl openmmlab study deploy prune tests docs build dist runtime codebases'.split()
    for name in lists:
        for asked in requirements(name).values():
            if asked.name in ('torch', 'triton'):
                continue
            pin = next(iter(pins[asked.name].specifier))
            assert pin.operator == '==' and asked.specifier.contains(pin.version), asked
    torch = next(iter(requirements('torch')['torch'].specifier))
    assert requirements('runtime')['torch'].specifier.contains(torch.version)
    assert requirements('torch')['triton'].specifier
    assert not {'torch', 'triton'} & set(pins), 'a pin there would replace the PyTorch of an environment'


def test_the_package_asks_for_neither_family_by_itself():
    families = {*requirements('onedl'), *requirements('openmmlab')}
    assert not families & set(requirements('runtime'))
    assert not set(requirements('onedl')) & set(requirements('openmmlab'))


def test_model_index_names_every_metafile_and_they_name_configs():
    imports = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    metafiles = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob('configs/*/metafile.yml'))
    assert sorted(imports) == metafiles
    for metafile in metafiles:
        for model in yaml.safe_load((ROOT / metafile).read_text())['Models']:
            assert (ROOT / model['Config']).is_file(), f'{metafile}: {model["Name"]}'


def version():
    return re.search(r"__version__ = '(.+)'", (ROOT / 'mmattn/version.py').read_text()).group(1)


def test_the_change_log_and_the_citation_are_of_this_version():
    heading = re.search(r'^## (.+)$', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE).group(1)
    found = re.fullmatch(r'(\S+) \((unreleased|\d{4}-\d\d-\d\d)\)', heading)
    assert found and found.group(1) == version(), heading
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == version()
    released = str(citation.get('date-released', 'unreleased'))
    assert released == found.group(2), 'the date is in both, or in neither'
    # What version 1.2.0 of the format requires
    assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)
    assert citation['cff-version'] == '1.2.0' and citation['license'] == 'Apache-2.0'


@pytest.mark.parametrize('name', ['bug', 'question', 'new_block'])
def test_issue_forms_ask_what_the_doctor_says(name):
    """The syntax of GitHub's issue forms; one with a mistake is not shown there."""
    form = yaml.safe_load((ROOT / f'.github/ISSUE_TEMPLATE/{name}.yml').read_text())
    assert {'name', 'description', 'body'} <= set(form) <= {'name', 'description', 'body', 'labels', 'title'}
    asked = [field for field in form['body'] if field['type'] != 'markdown']
    assert len({field['id'] for field in asked}) == len(asked)
    for field in form['body']:
        assert set(field) <= {'type', 'id', 'attributes', 'validations'}
        assert field['type'] in ('markdown', 'input', 'textarea', 'dropdown', 'checkboxes')
        assert field['attributes']['value' if field['type'] == 'markdown' else 'label']
    (doctor,) = (field for field in asked if field['id'] == 'doctor')
    assert doctor['attributes']['label'] == 'python tools/doctor.py --json'
    assert doctor['attributes']['render'] == 'json'
    for page in re.findall(r'docs/\w+\.md|[A-Z]+\.md', str(form)):
        assert (ROOT / page).is_file()


def test_make_help_names_every_target():
    text = make().stdout
    targets = re.search(r'^\.PHONY: (.+)$', (ROOT / 'Makefile').read_text(), re.MULTILINE).group(1)
    for target in set(targets.split()) - {'help'}:
        assert f'make {target} ' in text


def test_make_with_an_environment_that_is_not_there():
    done = make('test', 'USE_ENV=/no/such/place')
    assert done.returncode == 2
    assert (
        'USE_ENV=/no/such/place: there is no /no/such/place/bin/python. Give the folder of a '
        'venv or conda environment, or leave USE_ENV out to have .venv made.'
    ) in done.stderr


@pytest.fixture
def pretend(tmp_path):
    """Folder of an environment whose python only says what it was asked; it fails at pytest -x."""
    python = tmp_path / 'env' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text(
        '#!/bin/sh\necho "ran $* with ${OMP_NUM_THREADS:-all} threads"\ncase "$*" in *-x*) exit 3;; esac\n'
    )
    python.chmod(0o755)
    return tmp_path / 'env'


@pytest.mark.parametrize(
    'cpus, given, test, demo', [(2, None, '1', '1'), (64, None, '1', 'all'), (64, '3', '3', '3')]
)
def test_threads_of_tests_demo_and_doctor(pretend, monkeypatch, cpus, given, test, demo):
    nproc = pretend / 'bin' / 'nproc'
    nproc.write_text(f'#!/bin/sh\necho {cpus}\n')
    nproc.chmod(0o755)
    monkeypatch.setenv('PATH', str(nproc.parent), prepend=os.pathsep)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if given:
        monkeypatch.setenv('OMP_NUM_THREADS', given)
    use = f'USE_ENV={pretend}'
    assert f'ran -m pytest -n auto --dist worksteal with {test} threads' in make('test', use).stdout
    assert f'ran tools/demo.py with {demo} threads' in make('demo', use).stdout
    assert f'ran tools/doctor.py with {given or "all"} threads' in make('doctor', use).stdout


def test_make_says_what_to_do_when_tests_or_the_demo_fail(pretend):
    for target, text in (('test', 'make test ARGS=--lf;'), ('demo', 'work_dirs/demo/*/*.log;')):
        done = make(target, f'USE_ENV={pretend}', 'ARGS=-x')
        assert done.returncode == 2 and 'Error 3' in done.stderr
        assert text in done.stderr and 'make doctor says whether' in done.stderr


def test_doctor_does_not_wait_for_the_set_up():
    ask = shlex.join([sys.executable, '-I', '-S'])  # an interpreter without any package
    done = make('doctor', 'VENV=no-such-place', f'PYTHON={ask}')
    assert done.stdout.startswith('no-such-place is not there yet (make setup makes it); looking ')
    assert 'FAIL  torch           not installed' in done.stdout
    assert 'set-up' not in done.stdout + done.stderr


def test_the_same_python_and_pytorch_are_named_everywhere():
    torch = str(requirements('torch')['torch'])
    for name in ('Makefile', 'docs/install.md', 'tools/dev/setup_env.py', 'tools/_doctor/remedies.py'):
        text = (ROOT / name).read_text()
        assert set(re.findall(r'torch==[\d.]+\d', text)) <= {torch}, name
    assert "python_requires='>=3.10'" in (ROOT / 'setup.py').read_text()
    assert 'target-version = "py310"' in (ROOT / 'pyproject.toml').read_text()
    for name in ('Makefile', 'tools/dev/setup_env.py', 'tools/doctor.py'):
        assert 'sys.version_info < (3, 10)' in (ROOT / name).read_text(), name


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """The set-up of tmp_path/env, with a venv whose creation is only noted."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools' / 'dev'))
    sys.modules.pop('setup_env', None)
    import setup_env

    calls = []
    monkeypatch.setattr(setup_env.venv, 'create', lambda folder, **options: calls.append(options))
    made = setup_env.Setup(tmp_path / 'env')
    made.calls = calls
    return made


def interrupted(folder):
    """What is left of a venv when ensurepip is interrupted."""
    bare = venv.EnvBuilder(symlinks=True, with_pip=False)
    bare.create(folder)
    return next(folder.glob('lib/python*/site-packages'))


def test_an_environment_interrupted_before_it_had_pip_is_made_anew(setup, capsys):
    setup.make_venv()
    assert setup.calls == [{'with_pip': True, 'clear': False}]
    (interrupted(setup.folder) / 'pip').mkdir()
    setup.make_venv()
    assert setup.calls[1:] == [{'with_pip': True, 'clear': True}]
    assert f'{setup.folder} has no working pip: making it anew' in capsys.readouterr().out


@pytest.mark.parametrize('named', ['2.13.0', '2.13.0+cpu'])
def test_later_steps_keep_the_pytorch_by_the_version_that_pip_knows(setup, named):
    """PyPI's build says 2.13.0+cu130 of itself, and pip finds no package of that version."""
    site = interrupted(setup.folder)
    (site / 'torch.py').write_text("__version__ = '2.13.0+cu130'\n")
    (site / 'torch.dist-info').mkdir()
    metadata = f'Metadata-Version: 2.1\nName: torch\nVersion: {named}\n'
    (site / 'torch.dist-info' / 'METADATA').write_text(metadata)
    setup.install_torch()
    assert setup.torch_pin().read_text() == f'torch=={named}\n'


@pytest.mark.parametrize(
    'family, packages', [('onedl', ['onedl-mmengine', 'onedl-mmcv']), ('openmmlab', ['mmengine', 'mmcv'])]
)
def test_the_set_up_installs_one_family(setup, monkeypatch, family, packages):
    setup = type(setup)(setup.folder, family)
    asked = []
    monkeypatch.setattr(setup, 'call', lambda *args: asked.append(' '.join(map(str, args))))
    monkeypatch.setattr(setup, 'fix_opencv', lambda: None)
    interrupted(setup.folder)
    for step in (setup.install_base, setup.install_mmcv, setup.install_rest):
        step()
    base, mmcv, rest = asked
    assert f' {packages[0]} ' in base and mmcv.endswith(f'build_mmcv.py --package {packages[1]}')
    assert f'/{family}.txt ' in rest
    assert {req for req in requirements(family)} >= set(packages)


def test_the_set_up_does_not_mix_the_families(setup):
    site = interrupted(setup.folder)
    (site / 'mmengine.dist-info').mkdir()
    (site / 'mmengine.dist-info' / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: mmengine\nVersion: 1\n'
    )
    with pytest.raises(RuntimeError, match='FAMILY=onedl was asked for, but .*env has mmengine$') as no:
        setup.install_base()
    assert no.value.remedy == 'go on with FAMILY=openmmlab, or have all of it made anew: make clean-env'


def test_an_unknown_family_is_refused_before_anything_is_made(tmp_path):
    script = ROOT / 'tools/dev/setup_env.py'
    done = subprocess.run(
        [sys.executable, script, tmp_path / 'env'],
        env=dict(os.environ, FAMILY='conda'),
        capture_output=True,
        text=True,
    )
    assert done.stderr == 'FAMILY=conda: there are onedl and openmmlab\n'
    assert not (tmp_path / 'env').exists()


def test_an_environment_with_pip_is_kept(setup):
    site = interrupted(setup.folder)
    (site / 'pip').mkdir()
    (site / 'pip' / '__main__.py').touch()
    setup.make_venv()
    assert setup.calls == []


def test_nothing_but_an_empty_environment_is_removed(setup):
    setup.folder.mkdir()
    (setup.folder / 'thesis.tex').touch()
    with pytest.raises(RuntimeError, match='env is not empty, and not a virtual environment') as no:
        setup.make_venv()
    assert no.value.remedy == 'name another place: make setup VENV=/path'
    (interrupted(setup.folder) / 'numpy').mkdir()
    with pytest.raises(RuntimeError, match=r'env has packages \(numpy, ...\), but no working pip'):
        setup.make_venv()
    assert setup.calls == []


def test_the_set_up_ends_with_how_to_use_the_environment(setup, capsys):
    setup.folder.mkdir()
    setup.steps = []
    setup.run()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f'To work in it:  . {setup.folder}/bin/activate   and then')


def test_ci_keeps_its_own_wheels_and_is_executable():
    script = ROOT / '.ci' / 'run'
    assert os.access(script, os.X_OK)
    assert subprocess.run(['bash', '-n', str(script)]).returncode == 0


def tracked_files():
    """Files of this tree that git would carry to another machine."""
    done = subprocess.run(
        ['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True
    )
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
    subprocess.run(
        [
            *pip,
            'wheel',
            '--no-deps',
            '--no-build-isolation',
            '--no-index',
            '-w',
            str(folder),
            str(next((folder / 'sdist').iterdir())),
        ],
        **run,
    )
    wheel = next(folder.glob('*.whl'))
    python = dist.install(wheel, folder / 'env')
    return python, wheel


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
def test_the_wheel_works_from_another_folder(installed):
    python = installed[0]
    code = """
from pathlib import Path
import mmattn
from mmattn.registry import MODELS
from mmengine.config import Config
print(mmattn.__file__)
print(MODELS.get('SE').__module__)
configs = Path(mmattn.__file__).parent / '.mim' / 'configs'
print(Config.fromfile(configs / 'cbam' / 'faster-rcnn_r50-cbam_fpn_1x_coco.py').model.type)
"""
    where, module, model_type = dist.run_installed(python, '-c', code).splitlines()[-3:]
    assert Path(where).is_relative_to(python.parents[1])
    assert module.startswith('mmattn.blocks')
    assert model_type == 'mmattn.WithAttention'


@pytest.mark.slow
def test_the_smoke_test_of_a_release(installed, capsys):
    dist.smoke_test(installed[0], version())
    said = capsys.readouterr().out
    assert 'with attention: forward, backward, detections on ' in said and ' sites' in said
    with pytest.raises(SystemExit, match=r'FAILED: mmattn \S+ of \S+ is imported, and not the installed 9.9'):
        dist.smoke_test(installed[0], '9.9')


@pytest.mark.slow
def test_the_wheel_says_which_extras_there_are(installed):
    metadata = zipfile.ZipFile(installed[1])
    text = metadata.read(next(n for n in metadata.namelist() if n.endswith('/METADATA'))).decode()
    extras = re.findall(r'^Provides-Extra: (.+)$', text, re.MULTILINE)
    assert extras == ['onedl', 'openmmlab', 'study', 'deploy', 'prune', 'tests', 'docs']
    unconditional = re.findall(r'^Requires-Dist: ([^;\n]+)$', text, re.MULTILINE)
    assert {Requirement(line).name for line in unconditional} == {'torch', 'numpy', 'rich', 'safetensors'}


@pytest.mark.slow
def test_the_installed_tools_run(installed):
    code = """
import subprocess, sys
from pathlib import Path
import mmattn
tools = Path(mmattn.__file__).parent / '.mim' / 'tools'
for name in ('train.py', 'test.py'):
    done = subprocess.run([sys.executable, str(tools / name), '--help'],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print('--work-dir' in done.stdout)
"""
    assert dist.run_installed(installed[0], '-c', code).splitlines()[-2:] == ['True', 'True']
