#!/usr/bin/env python
"""Write docs/commands.md: what each tool takes, from its own parser.

python tools/dev/commands_page.py            print it
python tools/dev/commands_page.py --write    write it
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs/commands.md'
HEAD = """# Commands and their options

What `--help` of each script in `tools/` says, for two processors and no GPU.
`python tools/dev/commands_page.py --write` writes this page.
"""


class Parsed(BaseException):
    """Raised in place of parsing, with the parser."""


def arguments_of(path: Path) -> tuple[argparse.ArgumentParser, dict]:
    """Return the parser of a tool, without running the tool, and the arguments of it and of its commands."""
    arguments = defaultdict(list)
    add = argparse.ArgumentParser.add_argument

    def noted(parser, *args, **kwargs):
        action = add(parser, *args, **kwargs)
        arguments[parser].append(action)
        return action

    def with_commands(parser, *args, **kwargs):
        action = add_commands(parser, *args, **kwargs)
        arguments[parser].append(action)
        return action

    def stop(parser, *args, **kwargs):
        raise Parsed(parser)

    add_commands = argparse.ArgumentParser.add_subparsers
    argv = patch.object(sys, 'argv', [str(path)])
    parses = patch.multiple(
        argparse.ArgumentParser,
        add_argument=noted,
        add_subparsers=with_commands,
        parse_known_args=stop,
        parse_known_intermixed_args=stop,
    )
    # Defaults are those of one machine, so that the page is the same on all.
    no_gpu = patch('torch.cuda.is_available', return_value=False)
    cpus = patch.object(os, 'sched_getaffinity', lambda process: {0, 1}, create=True)
    with argv, parses, no_gpu, cpus:
        try:
            runpy.run_path(str(path), run_name='__main__')
        except Parsed as parsed:
            return parsed.args[0], arguments
    raise ValueError(f'{path} parses no arguments')


def section(name: str, parser: argparse.ArgumentParser, arguments: dict, level: int = 2) -> str:
    """Return a tool, or a command of it, as Markdown."""
    about = textwrap.fill((parser.description or '').strip().partition('\n\n')[0], 120)
    parts = [f'{"#" * level} `{name}`', about]
    commands = [action.choices for action in arguments[parser] if isinstance(action.choices, dict)]
    rows = [_row(parser, action) for action in arguments[parser] if _is_shown(action)]
    if rows:
        parts.append('\n'.join(['| argument | what it does |', '|---|---|', *rows]))
    for command, each in (item for choices in commands for item in choices.items()):
        parts.append(section(f'{name} {command}', each, arguments, level + 1))
    return '\n\n'.join(filter(None, parts))


def _is_shown(action: argparse.Action) -> bool:
    """False for ``--help``, for commands, and for what is not shown."""
    return (
        '--help' not in action.option_strings
        and not isinstance(action.choices, dict)
        and (action.help != argparse.SUPPRESS)
    )


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    value = _value(action)
    names = action.option_strings or ['']
    text = (action.help or '') % dict(vars(action), prog=parser.prog)
    shown = ', '.join(_code(' '.join(filter(None, (name, value)))) for name in names)
    return f'| {shown} | {_text(text)} |'


def _value(action: argparse.Action) -> str:
    """Return what follows the name of an option, or what stands for an argument, as argparse shows it."""
    name = action.metavar or action.dest
    if action.option_strings and not action.metavar:
        name = action.dest.upper()
    if action.choices and not action.metavar:
        name = f'{{{",".join(map(str, action.choices))}}}'
    if isinstance(name, tuple):
        return ' '.join(name)
    many = {'?': f'[{name}]', '*': f'[{name} ...]', '+': f'{name} [{name} ...]', 0: '', None: name}
    return many[action.nargs]


def _code(text: str) -> str:
    # In a table, what escapes a bar in Markdown's own code is shown by some renderers.
    return f'<code>{text.replace("|", "&#124;")}</code>' if '|' in text else f'`{text}`'


def _text(text: str) -> str:
    text = ' '.join(text.split()).replace(f'{ROOT}/', '')
    return text.replace('|', '\\|').replace('*', '\\*')


def page() -> str:
    tools = sorted((ROOT / 'tools').glob('*.py'))
    sections = [section(f'tools/{path.name}', *arguments_of(path)) for path in tools]
    return '\n\n'.join([HEAD.strip(), *sections]) + '\n'


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--write', action='store_true', help=f'write {PAGE.relative_to(ROOT)}')
    if parser.parse_args().write:
        PAGE.write_text(page(), encoding='utf-8')
    else:
        print(page(), end='')


if __name__ == '__main__':
    main()
