"""The fuzzing notices what it looks for: tracebacks, hangs, files that are not whole, wrong outcomes."""

import pytest
import torch

pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from tests.test_fuzz import arena as arena_module  # noqa: E402
from tests.test_fuzz import configs  # noqa: E402
from tests.test_fuzz.arena import Arena, check, run_tool  # noqa: E402
from tests.test_fuzz.case import EITHER, REFUSED, SAME, TRAINS, Case  # noqa: E402


def wrong_end(tmp_path, code, outcome=REFUSED, says=()):
    """What is found wrong with a tool of this code."""
    tool = tmp_path / 'train.py'
    tool.write_text(f'import sys\n{code}\n')
    done = run_tool(tool, (), tmp_path)
    seen = {0: 'trained', 2: REFUSED}.get(done.code, 'fails')
    return arena_module._wrong_end(done, Case('configs', '', outcome, (), says), seen)


MESSAGE = 'sys.stderr.write("train.py: lr=3 was asked for, which is too much: give less\\n"); sys.exit(2)'


@pytest.mark.parametrize(
    'code, outcome, says, found',
    [
        ('sys.exit(0)', TRAINS, (), ''),
        (MESSAGE, REFUSED, ('lr',), ''),
        (MESSAGE, EITHER, (), ''),
        (MESSAGE, TRAINS, (), 'refused, but it is trains'),
        ('sys.exit(0)', REFUSED, (), 'trained, but it is refused'),
        (MESSAGE, REFUSED, ('momentum',), 'the message names none of'),
        ('raise KeyError("area")', EITHER, (), "exit code 1: Traceback.*KeyError: 'area'"),
        ('sys.exit(1)', EITHER, (), 'exit code 1'),
        ('sys.stderr.write("train.py: KeyError: area\\n"); sys.exit(2)', EITHER, (), 'does not help'),
        ('sys.exit(2)', EITHER, (), 'does not help'),
        (f'print("Traceback (most recent call last)"); {MESSAGE}', REFUSED, (), 'a traceback is printed'),
        ('import time; time.sleep(9)', EITHER, (), 'Hangs: more than 1 seconds'),
        ('try:\n import time; time.sleep(9)\nexcept Exception: pass', EITHER, (), 'Hangs'),
    ],
)
def test_how_a_tool_ends(tmp_path, monkeypatch, code, outcome, says, found):
    import re

    monkeypatch.setattr(arena_module, 'SECONDS', 1)
    wrong = wrong_end(tmp_path, code, outcome, says)
    assert re.search(found, wrong, re.DOTALL) if found else not wrong


@pytest.mark.parametrize(
    'name, content',
    [
        ('a.pth.123.part', b''),
        ('a.pth', b'half'),
        ('a.json', b'{"a": '),
        ('vis_data/scalars.json', b'{"a": 1}\n{"a'),
        ('a.safetensors', b'\x08'),
        ('last_checkpoint', b'nothing.pth'),
    ],
)
def test_a_file_that_is_not_whole(tmp_path, name, content):
    torch.save({}, tmp_path / 'whole.pth')
    (tmp_path / 'whole.json').write_text('{}')
    assert not arena_module._wrong_files(tmp_path, ())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    assert arena_module._wrong_files(tmp_path, ()).startswith(name)
    assert not arena_module._wrong_files(tmp_path, {name})


def test_cases_with_a_wrong_label(tmp_path):
    arena = Arena(tmp_path)
    rate = ('optim_wrapper.optimizer.weight_decay', 0.5)
    assert check(arena, configs.case('', TRAINS, rate)) == ('trained', '')
    assert check(arena, configs.case('', REFUSED, rate))[1].startswith('trained, but it is refused')
    assert check(arena, configs.case('', TRAINS, ('model.type', 'X')))[1].startswith(
        'refused, but it is trains'
    )
    other = ('model.insert.0.block.type', 'mmattn.SE')
    assert check(arena, configs.case('', SAME, ('optim_wrapper.optimizer.weight_decay', 0.5)))[0] == 'trained'
    assert 'without the mutation' in check(arena, configs.case('', SAME, other, ('randomness.seed', 1)))[1]
