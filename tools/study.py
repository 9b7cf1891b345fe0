#!/usr/bin/env python
"""Find out whether a change helps: train variants with several seeds, and compare them."""

from mmattn.engine.cli import Parser, run_tool
from mmattn.study.cli import add_run_command, add_status_command
from mmattn.study.comparison.command import add_compare_command
from mmattn.study.report.command import add_report_command
from mmattn.study.search.search_command import add_search_command


def parse_args():
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar='COMMAND', parser_class=Parser)
    add_run_command(commands)
    add_status_command(commands)
    add_report_command(commands)
    add_compare_command(commands)
    add_search_command(commands)
    return parser.parse_args()


def main():
    args = parse_args()
    args.call(args)


if __name__ == '__main__':
    run_tool(main)
