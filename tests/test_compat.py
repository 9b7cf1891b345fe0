"""The messages of ``import mmattn`` about missing and clashing packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmattn import _compat

ROOT = Path(__file__).resolve().parents[1]
HIDE = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {hidden!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Hide())
"""


def run_without(hidden, code):
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.run(
        [sys.executable, '-c', HIDE.format(hidden=hidden) + code], env=env, capture_output=True, text=True
    )


def fake_distribution(folder, name, version):
    info = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


def test_without_mmengine_the_import_says_what_to_install():
    done = run_without(['mmengine'], 'import mmattn')
    assert done.returncode == 1
    assert 'ImportError: mmattn needs mmengine, which is not installed.' in done.stderr
    assert "pip install 'mmattn[onedl]'" in done.stderr
    assert "pip install 'mmattn[openmmlab]'" in done.stderr
    assert 'make setup' in done.stderr


def test_blocks_work_without_mmcv_and_mmdet():
    code = """
import torch, mmattn.ops, mmattn.blocks
from mmattn.registry import MODELS
block = MODELS.build(dict(type='SE', in_channels=32, start='identity'))
x = torch.rand(2, 32, 5, 7)
assert torch.equal(block(x), x)
assert not {'mmcv', 'mmdet'} & set(sys.modules)
print('fine')
"""
    done = run_without(['mmcv', 'mmdet'], code)
    assert done.stdout.strip() == 'fine', done.stderr


def test_the_import_itself_is_light():
    done = run_without([], 'import mmattn; print({"torch", "mmcv", "mmdet"} & set(sys.modules))')
    assert done.stdout.strip() == 'set()', done.stderr


def test_both_families_installed_is_a_warning(tmp_path, monkeypatch):
    fake_distribution(tmp_path, 'onedl-mmcv', '2.3.6')
    fake_distribution(tmp_path, 'mmcv', '2.1.0')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.warns(UserWarning) as caught:
        _compat.check()
    text = str(caught[0].message)
    assert text.startswith(
        'onedl-mmcv 2.3.6 and mmcv 2.1.0 are both installed and overwrite each '
        "other's files: `import mmcv` gives a mixture of the two."
    )
    assert 'pip uninstall -y onedl-mmcv mmcv && pip install onedl-mmcv==2.3.6' in text


def test_one_family_is_no_warning(recwarn):
    _compat.check()
    assert not [w for w in recwarn if 'both installed' in str(w.message)]


def test_require_names_what_needs_it(monkeypatch):
    monkeypatch.setattr(_compat, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'^mmattn\.WithAttention needs mmdet, which is not '):
        _compat.require('mmdet', 'mmattn.WithAttention')
