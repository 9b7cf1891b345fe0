"""What the tools share: how they end, and how they read options."""

import sys

import pytest
from rich.table import Table

from mmattn.engine import cli
from mmattn.engine.cli import (
    Parser,
    add_cfg_options,
    add_device_option,
    add_run_options,
    add_shape_option,
    logs_to_stderr,
    parse_run,
    print_tables,
    run_tool,
    wait_for_rank_0,
)
from mmattn.engine.mistakes import user_input


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """One process, started by nobody; waits are recorded instead."""
    for name in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK', 'MMATTN_DEBUG'):
        monkeypatch.delenv(name, raising=False)
    waits = []
    monkeypatch.setattr(cli.time, 'sleep', waits.append)
    return waits


def mistaken():
    with user_input():
        raise ValueError('depth is 19; possible: 18, 34')


def test_a_tool_that_ends_well_says_nothing(capsys):
    run_tool(lambda: print('done'))
    assert capsys.readouterr() == ('done\n', '')


def test_a_mistake_is_one_line_that_names_the_tool(capsys):
    with pytest.raises(SystemExit) as stop:
        run_tool(mistaken)
    assert stop.value.code == 2
    assert capsys.readouterr() == ('', 'test_cli.py: depth is 19; possible: 18, 34\n')


def test_any_other_error_passes_through(capsys):
    def failing():
        raise ValueError('the loss is not finite')

    with pytest.raises(ValueError, match='the loss is not finite'):
        run_tool(failing)
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('value, shown', [('1', True), ('yes', True), ('0', False), ('', False)])
def test_debug_shows_the_traceback_before_the_message(value, shown, monkeypatch, capsys):
    monkeypatch.setenv('MMATTN_DEBUG', value)
    with pytest.raises(SystemExit):
        run_tool(mistaken)
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0] == 'Traceback (most recent call last):') == shown
    assert lines[-1].startswith('test_cli.py: ') and (len(lines) == 1) != shown


@pytest.mark.parametrize('variable', ['RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'])
def test_other_ranks_wait_for_rank_0(variable, alone, monkeypatch):
    wait_for_rank_0()
    monkeypatch.setenv(variable, '0')
    wait_for_rank_0()
    assert alone == []
    monkeypatch.setenv(variable, '3')
    wait_for_rank_0()
    monkeypatch.setenv(variable, '2000')
    wait_for_rank_0()
    assert alone == [11.5, 60]  # no longer than a minute, however many there are


def test_a_rank_waits_before_it_speaks(alone, monkeypatch, capsys):
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setattr(cli.time, 'sleep', lambda seconds: print('waits', file=sys.stderr))
    with pytest.raises(SystemExit):
        run_tool(mistaken)
    assert capsys.readouterr().err.startswith('waits\ntest_cli.py: ')
    with pytest.raises(SystemExit) as stop:
        Parser(prog='tool').error('no such option')
    assert stop.value.code == 2 and capsys.readouterr().err.startswith('waits\nusage: tool')


def parsed(add, *arguments):
    parser = Parser(prog='tool')
    add(parser)
    return parser.parse_args(arguments)


def refused(capsys, add, *arguments):
    with pytest.raises(SystemExit) as stop:
        parsed(add, *arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    'given, shape',
    [((), (800, 1344)), (('320',), (320, 320)), (('320', '480'), (320, 480)), (('320x480',), (320, 480))]
    + [(('320X480',), (320, 480)), (('320', 'x', '480'), (320, 480)), (('(320,', '480)'), (320, 480))],
)
def test_shape_is_one_number_or_two(given, shape):
    assert parsed(add_shape_option, *(['--shape', *given] if given else [])).shape == shape


@pytest.mark.parametrize(
    'given', [('0',), ('-1',), ('1', '2', '3'), ('4', '0'), ('wide',), ('3x',), ('2.5',), ('1e2',)]
)
def test_a_wrong_shape_is_refused(given, capsys):
    text = refused(capsys, add_shape_option, '--shape', *given)
    says = 'tool: error: --shape takes height and width, as 320 480 or 320x480, or one number for both; got '
    assert text == f"{says}'{' '.join(given)}'"


def test_cfg_options_are_parsed_as_by_mmengine(capsys):
    found = parsed(add_cfg_options, '--cfg-options', 'a.b=3', 'c=[1,2]', 'd=x=y').cfg_options
    assert found == {'a.b': 3, 'c': [1, 2], 'd': 'x=y'}
    text = refused(capsys, add_cfg_options, '--cfg-options', 'a=3', 'b')
    assert text == "tool: error: --cfg-options takes key=value, and 'b' has no ="


def test_an_unknown_device_is_refused(capsys):
    assert parsed(lambda parser: add_device_option(parser, 'run'), '--device', 'cpu').device == 'cpu'
    text = refused(capsys, lambda parser: add_device_option(parser, 'run'), '--device', 'cup')
    assert text.startswith("tool: error: argument --device: 'cup' cannot be used: ")


def test_the_local_rank_of_old_launchers_goes_into_the_environment(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.delenv('LOCAL_RANK')
    monkeypatch.setattr(sys, 'argv', ['tool', '--local_rank', '3', '--launcher', 'mpi'])
    parser = Parser()
    add_run_options(parser)
    parsed = parse_run(parser)
    assert parsed['launcher'] == 'mpi' and 'local_rank' not in parsed
    assert cli.os.environ['LOCAL_RANK'] == '3'


def test_logs_leave_the_output_alone(capsys):
    with logs_to_stderr():
        print('a log')
    print('the result')
    assert capsys.readouterr() == ('the result\n', 'a log\n')


def test_tables_in_a_pipe_have_200_columns(capsys):
    table = Table()
    table.add_column('x' * 150)
    print_tables(['a line', table])
    out = capsys.readouterr().out.splitlines()
    assert out[0] == 'a line' and 'x' * 150 in out[2]
