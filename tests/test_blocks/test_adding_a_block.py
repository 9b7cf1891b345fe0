"""The example in docs/adding_a_block.md keeps the contract, and each mistake that it warns of breaks it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmattn.blocks import check
from mmattn.blocks.check import classes_at
from mmattn.blocks.contract import RULES, Subject, breaks
from mmattn.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs/adding_a_block.md').read_text(encoding='utf-8')
EXAMPLE = re.search(r'```python\n(import torch\n.*?)```', PAGE, flags=re.DOTALL)[1]
CONFIG = re.search(r'```python\n(_base_ = .*?my_package.*?)```', PAGE, flags=re.DOTALL)[1]
COMMAND = re.search(r'python (-m mmattn.blocks.check [^#\n]*)', PAGE)[1]


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """The block of the example is registered in a test, and not after it."""
    monkeypatch.setattr(MODELS, '_module_dict', dict(MODELS.module_dict))


def subject(tmp_path, code):
    file = tmp_path / 'srm.py'
    file.write_text(code, encoding='utf-8')
    return Subject(*classes_at(f'{file}:SRM'))


def run(folder, *command):
    """Run a command in a folder outside the repository, with mmattn importable and nothing else of ours."""
    env = {key: value for key, value in os.environ.items() if key != 'MMATTN_DATA_ROOT'}
    env['PYTHONPATH'] = str(ROOT)
    return subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope='module')
def outside(tmp_path_factory):
    """A user's folder with a package and a config."""
    folder = tmp_path_factory.mktemp('outside')
    (folder / 'my_package').mkdir()
    (folder / 'my_package/__init__.py').touch()
    (folder / 'my_package/srm.py').write_text(EXAMPLE, encoding='utf-8')
    (folder / 'my_config.py').write_text(CONFIG, encoding='utf-8')
    return folder


def test_the_example_is_short_and_keeps_the_contract(outside):
    code = re.sub(r'""".*?"""', '', EXAMPLE, flags=re.DOTALL)
    lines = [line for line in code[code.index('class SRM') :].splitlines() if line.strip()]
    assert len(lines) <= 20
    done = run(outside, *COMMAND.split())
    assert done.returncode == 0 and done.stdout.endswith('SRM keeps the contract\n'), (
        done.stdout + done.stderr
    )
    said = re.findall(r'^ok    (\w+): ', done.stdout, flags=re.MULTILINE)
    assert len(done.stdout.splitlines()) == len(RULES) + 2 and done.stderr == ''
    assert said == list(RULES)  # it is a gate, for which all rules hold


def test_a_config_outside_the_repository_finds_the_block_without_pythonpath(outside):
    done = run(
        outside, str(ROOT / 'tools/sites.py'), 'my_config.py', 'neck.output', '--shape', '64', '--json'
    )
    assert done.returncode == 0, done.stderr
    assert 'attention: SRM at ' in done.stderr


@pytest.mark.parametrize(
    'old, new, rule, text',
    [
        (
            '(flat.var(2, correction=0) + 1e-5).sqrt()',
            'flat.std(2)',
            'trains_on_any_map',
            "start='paper', a random map of (1, 32, 1, 1): the output is not finite",
        ),
        (
            'return [self.cfc]',
            'return [self.cfc, self.bn.weight]',
            'learns_from_the_identity',
            "after one step no gradient reaches ['cfc', 'bn.weight']",
        ),
        ('self.ceiling)', '1.0)', 'starts_as_identity', 'training=True: the output is not the input'),
        (
            "in_channels, start='paper', init",
            "in_channels, width, start='paper', init",
            'can_be_built',
            "missing 1 required positional argument: 'width'\"); give its options without a default",
        ),
        (
            "    _abbr_ = 'srm'\n",
            '',
            'has_the_signature',
            "it must have _abbr_, its name in MMDetection's plugins=",
        ),
        ("{'channel':", "{'pixel':", 'multiplies_by_its_gates', "gates() names 'pixel'; possible: channel, "),
        ('super().__init__(in_channels, start, init_cfg)', 'super().__init__(in_channels, start)',
         'refuses_bad_values', "is taken: hand start and init_cfg to super().__init__"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(tmp_path, old, new, rule, text):
    assert old in EXAMPLE
    broken = subject(tmp_path, EXAMPLE.replace(old, new))
    assert text in breaks(rule, broken), breaks(rule, broken)


@pytest.mark.parametrize(
    'arguments, says',
    [
        ('nowhere:SRM', "No module named 'nowhere'"),
        ('my_package.srm:SRN', "my_package.srm has no class 'SRN'; its blocks: SRM"),
        ('my_package', 'my_package has no subclass of mmattn.blocks.AttentionBlock; its blocks: none'),
        ('my_package.srm:SRM 3', "options are KEY=VALUE, and '3' has no ="),
        ('nowhere.py:SRM', 'nowhere.py'),
    ],
)
def test_what_cannot_be_checked_is_a_message(arguments, says, outside, monkeypatch, capsys):
    monkeypatch.chdir(outside)
    monkeypatch.syspath_prepend(outside)
    monkeypatch.setattr(sys, 'argv', ['check', *arguments.split()])
    with pytest.raises(SystemExit) as stop:
        check.main()
    assert stop.value.code == 2 and says in capsys.readouterr().err.splitlines()[-1]


def test_options_without_a_default_are_given(tmp_path, monkeypatch, capsys):
    code = EXAMPLE.replace("in_channels, start='paper', init", "in_channels, width, start='paper', init")
    (tmp_path / 'srm.py').write_text(code, encoding='utf-8')
    monkeypatch.setattr(sys, 'argv', ['check', f'{tmp_path}/srm.py', 'width=3'])
    monkeypatch.setattr(check, 'rules_for', lambda subject: ['can_be_built'])
    with pytest.raises(SystemExit) as stop:
        check.main()
    assert stop.value.code == 0 and capsys.readouterr().out.endswith('SRM keeps the contract\n')
