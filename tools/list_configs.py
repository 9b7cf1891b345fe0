#!/usr/bin/env python
"""Print the table of docs/configs.md: every config and what it costs in parameters."""
import argparse

from mmattn.engine.config_list import markdown_table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', nargs='?', default='configs', help='folder with configs')
    print(markdown_table(parser.parse_args().folder))


if __name__ == '__main__':
    main()
