"""The example in docs/adding_a_block.md keeps the contract, and each mistake that it warns of breaks it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs/adding_a_block.md').read_text(encoding='utf-8')
EXAMPLE = re.search(r'```python\n(import torch\n.*?)```', PAGE, flags=re.DOTALL)[1]


def contract(folder, code, *options):
    package = folder / 'my_package'
    package.mkdir()
    (package / '__init__.py').touch()
    (package / 'srm.py').write_text(code, encoding='utf-8')
    command = re.search(r'MMATTN_BLOCKS=(\S+) python (-m pytest .*?)```', PAGE, flags=re.DOTALL)
    env = dict(os.environ, MMATTN_BLOCKS=command[1], PYTHONPATH=os.pathsep.join([str(folder), str(ROOT)]))
    return subprocess.run(
        [sys.executable, *command[2].replace('\\\n', '').split(), '-q', '-p', 'no:cacheprovider', *options],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    ).stdout


def test_the_example_is_short_and_keeps_the_contract(tmp_path):
    code = re.sub(r'""".*?"""', '', EXAMPLE, flags=re.DOTALL)
    lines = [line for line in code[code.index('class SRM') :].splitlines() if line.strip()]
    assert len(lines) <= 20
    out = contract(tmp_path, EXAMPLE)
    passed = re.search(r'(\d+) passed', out)
    assert passed and int(passed[1]) > 40 and 'failed' not in out, out


@pytest.mark.parametrize(
    'old, new, test, text',
    [
        ('(flat.var(2, correction=0) + 1e-5).sqrt()', 'flat.std(2)', 'test_trains_on_any_map', 'isfinite'),
        ('return [self.cfc]', 'return [self.cfc, self.bn.weight]', 'test_identity_reaches', "['cfc', 'bn.w"),
        (
            "in_channels, start='paper', init",
            "in_channels, width, start='paper', init",
            'test_can_be_built',
            'tests/test_blocks/cases.py must give its options without a default',
        ),
        (
            "in_channels, start='paper', init",
            "in_channels, width=3, start='paper', init",
            'test_can_be_built',
            'SRM has options that no test varies: width; add values to tests/test_blocks/cases.py',
        ),
        ('Official code: ', '', 'test_docstring', "its docstring must have 'fficial code'"),
        (
            "    _abbr_ = 'srm'\n",
            '',
            'test_the_signature',
            "it must have _abbr_, its name in MMDetection's plugins=",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, test, text):
    assert old in EXAMPLE
    out = contract(tmp_path, EXAMPLE.replace(old, new), '-k', f'SRM and {test}')
    assert 'failed' in out and text in out.replace('\n', ' '), out
