#!/usr/bin/env python
"""Print the table of docs/configs.md: every config and what it costs in parameters."""

import os

from mmattn.cost import configs_to_markdown, list_configs
from mmattn.engine.cli import Parser, logs_to_stderr, run_tool


def main():
    parser = Parser(description=__doc__)
    parser.add_argument('folder', nargs='?', default='configs', help='folder with configs')
    folder = parser.parse_args().folder
    if not os.path.isdir(folder):
        parser.error(f"no folder '{folder}'; looked in {os.getcwd()}")
    if not list_configs(folder):
        parser.error(f"no configs in '{folder}': it has no *.py below it, except in _base_")
    with logs_to_stderr():
        table = configs_to_markdown(folder)
    print(table)


if __name__ == '__main__':
    run_tool(main)
