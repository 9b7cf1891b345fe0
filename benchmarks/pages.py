"""Put what was measured into a page of the docs, between the marks that name the script."""

import argparse
import json
import sys
from pathlib import Path

from machine import describe

from mmattn.files import write_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tools/dev'))
import chinese  # noqa: E402


def with_text(page, begin, end, text):
    """Return a page with ``text`` between its marks, each on a line of its own.

    Raises:
        ValueError: A mark is missing.
    """
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f'the page lacks the lines {begin} and {end}')
    return f'{head}{begin}\n{text}\n{end}{tail}'


def write_page(page, text):
    """Write a page, and what its Chinese page takes from it."""
    write_file(page, text)
    chinese.write(page)


def run(script, measure, repeats):
    """Run a script that measures and writes a page; ``--page`` writes the page alone.

    Args:
        script: ``vars()`` of the script: ``__doc__``, ``RESULTS``, ``PAGE`` and the function ``page``.
        measure: Called with the number of repeats; returns what goes into the results file.
        repeats: The default of ``--repeats``.
    """
    parser = argparse.ArgumentParser(description=script['__doc__'].partition('\n')[0])
    parser.add_argument('--page', action='store_true', help='only write the page, from the file')
    parser.add_argument('--repeats', type=int, default=repeats)
    args = parser.parse_args()
    if not args.page:
        results = dict(machine=describe(), **measure(args.repeats))
        write_file(script['RESULTS'], json.dumps(results, indent=1) + '\n')
    write_page(script['PAGE'], script['page'](json.loads(script['RESULTS'].read_text())))
