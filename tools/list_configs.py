#!/usr/bin/env python
"""Print the table of docs/configs.md: every config and what it costs in parameters."""

import argparse
import sys
from contextlib import redirect_stdout

from mmattn.cost import configs_to_markdown


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', nargs='?', default='configs', help='folder with configs')
    folder = parser.parse_args().folder
    with redirect_stdout(sys.stderr):  # what building the models logs is no part of the table
        table = configs_to_markdown(folder)
    print(table)


if __name__ == '__main__':
    main()
