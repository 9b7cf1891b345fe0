"""The doctor: a line for everything, a remedy for every problem, an exit code."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools' / 'doctor.py'


@pytest.fixture
def doctor():
    spec = importlib.util.spec_from_file_location('doctor', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def healthy(doctor, monkeypatch):
    """The doctor on a machine where every probe succeeds, without running any."""
    answers = {
        'torch': {'devices': [], 'threads': 1, 'built_for_cuda': None},
        'cv2': {},
        'ops': {'device': 'cpu'},
        'checkpoints': {'refused': ''},
        'configs': {'detector': 'FasterRCNN'},
        'attention': {'by': 'cpu', 'missing': '', 'device': 'cpu'},
        'weights': {'folder': '/cache dir', 'missing': {}, 'unreachable': ''},
        'detector': {'plain': 0.2, 'with_attention': 0.3, 'device': 'cpu'},
    }
    monkeypatch.setattr(doctor, 'probe', lambda name: answers[name])
    monkeypatch.setattr(doctor, 'importable', lambda name: True)
    return answers


def rows(doctor):
    return {row['what']: row for row in doctor.examine().rows}


def test_with_nothing_installed_it_still_runs_and_says_what_to_do():
    # -I -S: no site-packages and no PYTHONPATH, only the standard library.
    done = subprocess.run([sys.executable, '-I', '-S', str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == ''
    for name in ('torch', 'mmengine', 'mmcv', 'mmdet'):
        assert f'FAIL  {name:14}  not installed' in done.stdout
    assert 'mmcv: python tools/dev/build_mmcv.py\n' in done.stdout
    assert done.stdout.rstrip().endswith('problems: something needed is missing.')


def test_all_is_well_where_every_probe_succeeds(doctor, healthy):
    assert {row['verdict'] for row in rows(doctor).values()} <= {'ok', 'warn'}
    text = doctor.table(doctor.examine())
    assert text.endswith('Everything needed is here and works.')
    assert 'with attention      forward, backward, detections on cpu in 0.3 s' in text


@pytest.mark.parametrize('device, fix', [('cpu', 'apt-get install gcc'), ('cuda', 'pip install triton')])
def test_slow_attention_is_a_warning_with_a_remedy(doctor, healthy, device, fix):
    healthy['attention'] = {'by': 'aten', 'missing': 'it is not there', 'device': device}
    row = rows(doctor)['fast attention']
    assert (row['verdict'], row['found']) == ('warn', 'no, by aten: it is not there') and row[
        'fix'
    ].startswith(fix)
    healthy['attention'] = {'error': 'ImportError: no'}
    assert rows(doctor)['fast attention']['verdict'] == 'FAIL'


def test_pretrained_weights_that_cannot_be_fetched(doctor, healthy):
    url = 'https://download.pytorch.org/models/resnet18-f37072fd.pth'
    assert rows(doctor)['pretrained weights']['found'] == 'in /cache dir'
    healthy['weights']['missing'] = {'resnet18': url}
    row = rows(doctor)['pretrained weights']
    assert row['verdict'] == 'ok' and row['found'] == 'resnet18: fetched into /cache dir when first needed'
    healthy['weights']['unreachable'] = 'no such host'
    row = rows(doctor)['pretrained weights']
    assert (
        row['verdict'] == 'warn' and 'not in /cache dir, and cannot be fetched (no such host)' in row['found']
    )
    assert f"cd '/cache dir' && curl -O {url} " in row['fix']


def test_checkpoints_that_mmengine_cannot_load_are_a_warning_with_a_remedy(doctor, healthy):
    assert rows(doctor)['checkpoints']['verdict'] == 'ok'
    healthy['checkpoints']['refused'] = 'UnpicklingError: Weights only load failed'
    row = rows(doctor)['checkpoints']
    assert (row['verdict'], row['found']) == (
        'warn',
        "MMEngine's runner cannot load its own (UnpicklingError: Weights only load failed); "
        'the tools of mmattn can',
    )
    assert "custom_hooks = [dict(type='mmattn.RefuseCodeHook')]" in row['fix']


def test_upstreams_mmengine_without_pkg_resources_is_a_line_with_a_remedy(doctor, healthy):
    assert rows(doctor)["mmdet's configs"]['verdict'] == 'ok'
    healthy['configs'] = {'error': "ModuleNotFoundError: No module named 'pkg_resources'"}
    row = rows(doctor)["mmdet's configs"]
    assert (row['verdict'], row['found']) == ('FAIL', "ModuleNotFoundError: No module named 'pkg_resources'")
    assert row['fix'].startswith("pip install 'setuptools<82'   # ")
    healthy['configs'] = {'error': 'OSError: no such config'}
    assert 'requirements/constraints.txt' in rows(doctor)["mmdet's configs"]['fix']


def test_the_probe_of_configs_reads_one(doctor):
    assert doctor.load(doctor.OWN / 'probe_configs.py').probe() == {'detector': 'FasterRCNN'}


def test_the_probe_of_checkpoints_tells_pytorchs_refusal(doctor, monkeypatch):
    """As upstream's MMEngine 0.10.7 loads: by PyTorch's default, which is weights_only=True from 2.6."""
    probe = doctor.load(doctor.OWN / 'probe_checkpoints.py').probe
    assert probe() == {'refused': ''}
    from mmengine.runner import CheckpointLoader

    monkeypatch.setattr(
        CheckpointLoader, 'load_checkpoint', lambda path, map_location: torch.load(path, weights_only=True)
    )
    assert probe() == {'refused': 'UnpicklingError: Weights only load failed'}


@pytest.mark.parametrize(
    'installed, family',
    [
        ({'mmengine': '0.10.7', 'mmcv': '2.1.0'}, 'openmmlab'),
        ({'mmengine-lite': '0.10.7'}, 'openmmlab'),
        ({'onedl-mmcv': '2.3.6', 'mmengine': '0.10.7'}, 'onedl'),
        ({}, 'onedl'),
    ],
)
def test_what_is_missing_is_taken_from_the_family_that_is_there(doctor, monkeypatch, installed, family):
    found = {name: list(names) for name, names in doctor.compat.PROVIDERS.items()}
    monkeypatch.setattr(
        doctor.compat, 'installed', lambda name: [each for each in found[name] if each in installed]
    )
    assert doctor.family() == family
    remedies = doctor.REMEDIES.remedies
    for checkout in (True, False):
        fix = remedies(checkout, family)
        assert ('onedl' in fix['mmengine']) == ('onedl' in fix['mmdet']) == (family == 'onedl')
        assert ('onedl' in fix['detector']) == (family == 'onedl')


def test_a_missing_mmcv_is_a_line_with_a_remedy(doctor, healthy, monkeypatch):
    monkeypatch.setattr(doctor, 'importable', lambda name: name != 'mmcv')
    monkeypatch.setattr(doctor, 'distributions', lambda name: {})
    found = rows(doctor)
    assert found['mmcv'] == {
        'what': 'mmcv',
        'found': 'not installed',
        'verdict': 'FAIL',
        'fix': 'python tools/dev/build_mmcv.py',
    }
    assert found["mmcv's ops"]['verdict'] == found['a detector']['verdict'] == '-'


def test_mmcv_without_ops_is_rebuilt(doctor, healthy):
    healthy['ops'] = {'error': "ModuleNotFoundError: No module named 'mmcv._ext'"}
    found = rows(doctor)
    assert found["mmcv's ops"]['found'] == "ModuleNotFoundError: No module named 'mmcv._ext'"
    assert found["mmcv's ops"]['fix'].startswith('python tools/dev/build_mmcv.py --force')
    assert found['a detector']['found'] == 'not tried: something above is missing'


def test_a_detector_that_fails_is_a_line(doctor, healthy):
    healthy['detector']['with_attention'] = 'KeyError: no such block'
    found = rows(doctor)
    assert found['a detector']['verdict'] == 'ok'
    assert found['with attention']['found'] == 'KeyError: no such block'
    assert 'requirements/constraints.txt' in found['with attention']['fix']


def test_both_families_are_refused(doctor, healthy, monkeypatch):
    both = {'onedl-mmcv': '2.3.6', 'mmcv': '2.1.0'}
    monkeypatch.setattr(doctor, 'distributions', lambda name: both if name == 'mmcv' else {'x': '1'})
    row = rows(doctor)['mmcv']
    assert row['verdict'] == 'FAIL'
    assert row['found'] == ("onedl-mmcv 2.3.6, mmcv 2.1.0: both installed, they overwrite each other's files")
    assert row['fix'] == ('pip uninstall -y onedl-mmcv mmcv && python tools/dev/build_mmcv.py')


def test_two_upstream_packages_are_refused(doctor, healthy, monkeypatch):
    both = {'mmengine': '0.10.7', 'mmengine-lite': '0.10.4'}
    monkeypatch.setattr(doctor, 'distributions', lambda name: both if name == 'mmengine' else {})
    assert rows(doctor)['mmengine']['fix'] == (
        'pip uninstall -y mmengine mmengine-lite && pip install mmengine==0.10.7'
    )


@pytest.mark.parametrize(
    'number, verdict', [('2.3.1+cpu', 'FAIL'), ('1.13.1', 'FAIL'), ('2.4.0', 'ok'), ('2.13.0+cpu', 'ok')]
)
def test_a_pytorch_older_than_the_oldest_is_refused(doctor, healthy, monkeypatch, number, verdict):
    monkeypatch.setattr(doctor, 'distributions', lambda name: {'torch': number} if name == 'torch' else {})
    row = rows(doctor)['torch']
    assert row['verdict'] == verdict
    if verdict == 'FAIL':
        assert row['found'] == f'torch {number}: 2.4 or later is needed'
        assert row['fix'].startswith("pip install 'torch==2.13.0'   # ")


def test_the_oldest_pytorch_is_the_one_the_package_asks_for(doctor):
    asked = (ROOT / 'requirements' / 'runtime.txt').read_text()
    assert f'torch>={doctor.OLDEST_TORCH}\n' in asked


def test_remedies_name_files_that_are_there_and_can_be_pasted(doctor, monkeypatch):
    monkeypatch.setattr(
        'importlib.metadata.requires',
        lambda name: ['torch>=2.4', 'onedl-mmcv<2.4,>=2.3.6; extra == "onedl"'],
    )
    remedies = doctor.load(doctor.OWN / 'remedies.py').remedies
    checkout, wheel = remedies(True), remedies(False)
    assert set(checkout) == set(wheel) >= set(doctor.PROVIDERS)
    for fix in checkout.values():
        files = re.findall(r'(?:requirements|tools)/\S+', fix)
        assert all((ROOT / name).is_file() for name in files), fix
    for fix in wheel.values():
        assert not re.search(r'requirements/|tools/|make setup|-e \.', fix), fix
    for fix in [*checkout.values(), *wheel.values()]:
        assert subprocess.run(['sh', '-n', '-c', fix]).returncode == 0, fix
    assert wheel['torch'].startswith("pip install 'torch>=2.4'   # ")
    assert "--no-binary onedl-mmcv 'onedl-mmcv<2.4,>=2.3.6'" in wheel['mmcv']


def test_many_threads_on_a_busy_machine_are_a_warning(doctor, healthy, monkeypatch):
    healthy['torch']['threads'] = 2
    monkeypatch.setattr(doctor.os, 'sched_getaffinity', lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(doctor.os, 'getloadavg', lambda: (1.9, 0, 0), raising=False)
    row = rows(doctor)['threads']
    assert (row['verdict'], row['fix']) == ('warn', 'export OMP_NUM_THREADS=1')
    monkeypatch.setattr(doctor.os, 'getloadavg', lambda: (0.2, 0, 0), raising=False)
    assert rows(doctor)['threads']['verdict'] == 'ok'


@pytest.mark.parametrize(
    'code, report',
    [
        ('def probe(): return dict(device=1)', {'device': 1}),
        ('import os, signal; os.kill(os.getpid(), signal.SIGSEGV)', {'error': 'crashed with signal 11'}),
        (
            'import no_such_package',
            {'error': "ModuleNotFoundError: No module named 'no_such_package'"},
        ),
        ('import os; os._exit(0)', {'error': 'ended without a result; the last it said: no output'}),
    ],
)
def test_a_probe_reports_or_says_how_it_failed(doctor, monkeypatch, tmp_path, code, report):
    (tmp_path / 'probe_ops.py').write_text(code)
    monkeypatch.setitem(doctor.PROBES, 'ops', tmp_path / 'probe_ops.py')
    assert doctor.probe('ops') == report


def test_every_probe_is_run(doctor, monkeypatch):
    asked = []
    monkeypatch.setattr(doctor, 'importable', lambda name: True)

    def answer(name):
        asked.append(name)
        return dict(
            devices=[],
            threads=1,
            built_for_cuda=None,
            device='cpu',
            by='cpu',
            missing='',
            folder='',
            refused='',
        )

    monkeypatch.setattr(doctor, 'probe', answer)
    doctor.examine()
    assert sorted(asked) == sorted(doctor.PROBES)


def test_it_knows_the_packages_that_mmattn_checks(doctor):
    from mmattn import _compat

    assert doctor.compat.PROVIDERS == _compat.PROVIDERS
    assert doctor.PROVIDERS.items() >= _compat.PROVIDERS.items()


def test_installed_from_a_wheel_it_finds_its_files(tmp_path):
    tools = tmp_path / 'mmattn' / '.mim' / 'tools'
    shutil.copytree(ROOT / 'tools', tools)
    shutil.copy2(ROOT / 'mmattn' / '_compat.py', tmp_path / 'mmattn')
    done = subprocess.run(
        [sys.executable, '-I', '-S', str(tools / 'doctor.py')], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, '')
    assert 'mmattn: pip install mmattn\n' in done.stdout and 'requirements/' not in done.stdout


@pytest.mark.slow
def test_this_environment_is_well():
    """For real: all probes, here and with mmcv hidden."""
    done = subprocess.run([sys.executable, str(SCRIPT), '--json'], capture_output=True, text=True)
    found = {row['what']: row for row in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert found['with attention']['found'].startswith('forward, backward, detections on ')


@pytest.mark.slow
def test_this_environment_lacks_mmcv_where_it_is_hidden(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text("""
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'mmcv':
            raise ModuleNotFoundError("No module named 'mmcv'", name=name)
sys.meta_path.insert(0, Hide())
""")
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(tmp_path)),
    )
    assert done.returncode == 1
    assert 'mmcv: python tools/dev/build_mmcv.py' in done.stdout
    assert done.stdout.rstrip().endswith('1 problem: something needed is missing.')


def test_mmattn_that_only_this_folder_has(doctor, healthy, monkeypatch):
    monkeypatch.setattr(doctor, 'distributions', lambda module: {} if module == 'mmattn' else {module: '9.9'})
    assert rows(doctor)['mmattn']['found'] == 'not installed; found by PYTHONPATH'
    monkeypatch.setattr(doctor, 'importable', lambda name: name != 'mmattn')
    row = rows(doctor)['mmattn']
    assert row['verdict'] == 'warn' and row['fix'] == doctor.FIX['mmattn']
    assert "in notebooks, a config with type='mmattn...' ends in a KeyError of MMEngine" in row['found']


def test_another_python_without_mmattn_is_told(doctor, healthy, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', os.path.dirname(sys.executable), prepend=os.pathsep)
    assert 'python on PATH' not in rows(doctor)
    other = tmp_path / 'python'
    other.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')  # with nothing installed
    other.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    row = rows(doctor)['python on PATH']
    assert row['verdict'] == 'warn' and row['found'].startswith(
        f'{other}, another interpreter, without mmattn'
    )
    assert row['fix'].startswith(f'export PATH={os.path.dirname(sys.executable)}:$PATH')
    other.write_text('#!/bin/sh\nexit 3\n')  # one that is broken is not ours to tell of
    assert 'python on PATH' not in rows(doctor)
