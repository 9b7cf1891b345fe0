"""Run the core tests on other versions of Python, PyTorch and MMDetection, for docs/install.md's table.

    python benchmarks/stacks.py                        # all cells below; `make matrix` does the same
    python benchmarks/stacks.py onedl/3.11/2.4.1       # these: FAMILY/PYTHON/TORCH
    python benchmarks/stacks.py --page                 # only write the page, from the results file

Each cell gets an environment of its own (1 to 8 GB, --remove deletes it), made by tools/dev/setup_env.py as
`make setup` makes one; another run goes on with what is there. PyTorch comes from where pip looks, so
PIP_EXTRA_INDEX_URL can name the CPU builds. A Python that is not on PATH is a line of the table too.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from machine import describe
from pages import with_text, write_page

from mmattn.files import write_file

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/stacks.json'
PAGE = ROOT / 'docs/install.md'
MARKS = '<!-- benchmarks/stacks.py -->', '<!-- end -->'
CELLS = [
    'onedl/3.10/2.13.0',
    'onedl/3.11/2.13.0',
    'onedl/3.12/2.13.0',
    'onedl/3.13/2.13.0',
    'onedl/3.11/2.4.1',
    'openmmlab/3.11/2.13.0',
    'openmmlab/3.11/2.4.1',
]
FAMILIES = {'onedl': 'forks', 'openmmlab': 'upstream'}
# What depends on the packages below mmattn, and takes minutes: not studies, tools and pages.
TESTS = ['tests/test_' + name for name in ('insertion', 'checkpoints', 'blocks', 'ops', 'hooks', 'configs')]
COLOUR = re.compile(r'(\x1b|#x1B)\[[0-9;]*m')  # of a terminal, as it is or as JUnit's XML writes it
ERROR = re.compile(r'error:|^\[mmcv\] FAILED:', re.IGNORECASE)  # pip's or the compiler's
DESCRIBE = 'import json; from mmattn.engine.machine import describe_machine as d; print(json.dumps(d()))'


def key(cell):
    """Return ``FAMILY/PYTHON/TORCH`` of a cell's result."""
    return '/'.join((cell['family'], cell['python'], cell['torch']))


def run_cell(name, folder, tests, workers):
    """Make the environment of a cell and run the tests there; return what happened."""
    family, python, torch = name.split('/')
    cell = dict(family=family, python=python, torch=torch)
    interpreter = shutil.which(f'python{python}')
    # pyenv has a command for each version, also for those that it does not run.
    if not interpreter or subprocess.run([interpreter, '-c', ''], capture_output=True).returncode:
        return dict(cell, outcome='skipped', reason=f'no python{python} on PATH')
    env = dict(os.environ, TORCH_SPEC=f'torch=={torch}', FAMILY=family, PYTHONPATH=str(ROOT))
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / 'setup.log'
    with log.open('w') as file:
        command = [interpreter, str(ROOT / 'tools/dev/setup_env.py'), str(folder / 'env')]
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT)
    cell['setup_seconds'] = round(time.monotonic() - began)
    if done.returncode:
        return dict(cell, outcome='not installed', reason=first_error(log.read_text(errors='replace')))
    return dict(cell, **run_tests(folder, tests, workers, env))


def first_error(log):
    """Return what the set-up said of its failure: the step, and pip's or the compiler's first error."""
    lines = [line.strip() for line in log.splitlines()]
    step = next((line for line in lines if line.startswith('set-up FAILED at:')), 'set-up FAILED')
    error = next((line for line in lines if ERROR.search(line)), (lines or ['no output'])[-1])
    return f'{step.removeprefix("set-up FAILED at:").strip()}: {error}'


def run_tests(folder, tests, workers, env):
    """Run the tests in the environment of a cell; return their counts, and the first failure."""
    python, report = folder / 'env/bin/python', folder / 'tests.xml'
    described = subprocess.run(
        [python, '-c', DESCRIBE], cwd=folder, env=env, check=True, capture_output=True, text=True
    )
    # Warnings as errors are this project's own discipline, on the versions that it pins.
    options = ['-q', '-n', str(workers), '-o', 'filterwarnings=default', '-p', 'no:cacheprovider']
    command = [str(python), '-m', 'pytest', *options, f'--junitxml={report}', *tests]
    env = dict(env, OMP_NUM_THREADS='1')
    report.unlink(missing_ok=True)
    began = time.monotonic()
    with (folder / 'tests.log').open('w') as file:
        subprocess.run(command, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT)
    cell = dict(test_seconds=round(time.monotonic() - began), machine=json.loads(described.stdout))
    if not report.is_file():
        last = (folder / 'tests.log').read_text(errors='replace').strip().splitlines()[-1:]
        return dict(cell, outcome='not tested', reason=f'pytest wrote no report: {" ".join(last)}')
    return dict(cell, outcome='tested', folders=counts(report))


def counts(report):
    """Return how many tests of a JUnit report passed, failed and were skipped, and why, by folder."""
    found = {}
    for case in ElementTree.parse(report).getroot().iter('testcase'):
        folder = case.get('classname').removeprefix('tests.').partition('.')[0]
        here = found.setdefault(folder, dict(passed=0, failed=0, skipped=0, failures=[]))
        problem = next((part for part in case if part.tag in ('failure', 'error')), None)
        if problem is not None:
            error = COLOUR.sub('', (problem.get('message') or '').partition('\n')[0])[:200].strip()
            here['failures'].append(dict(test=f'{case.get("classname")}::{case.get("name")}', error=error))
            here['failed'] += 1
        elif any(part.tag == 'skipped' for part in case):
            here['skipped'] += 1
        else:
            here['passed'] += 1
    return found


def verdict(cell):
    """Return the last column of the table."""
    if 'folders' not in cell:
        return f'{cell["outcome"]}: {cell["reason"]}'
    folders = cell['folders']
    passed, failed = (sum(each[key] for each in folders.values()) for key in ('passed', 'failed'))
    text = f'{passed:,} passed'
    if failed:
        errors = Counter(each['error'] for folder in folders.values() for each in folder['failures'])
        text += f', **{failed:,} failed**: ' + '; '.join(map(shown, errors.most_common(3)))
        text += '; ...' * (len(errors) > 3)
    if set(folders) != {each.removeprefix('tests/') for each in TESTS}:
        text += f'; only of {", ".join(sorted(folders))}'
    return text


def shown(error):
    """Return an error as the table shows it, with the number of tests that it failed."""
    text, count = error
    return f'{count} with `{text if len(text) <= 100 else text[:97] + "..."}`'


def packages(cell):
    """Return the versions of MMEngine, mmcv and MMDetection of a cell, if it was installed."""
    versions = cell.get('machine', {}).get('versions', {})
    names = ('mmengine', 'mmcv', 'mmdet')
    if cell['family'] == 'onedl':
        names = ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection')
    found = [f'{name} {versions[name]}' for name in names if name in versions]
    return ', '.join(found) or FAMILIES[cell['family']]


def table(results):
    """Return the results as Markdown."""
    lines = ['| Python | PyTorch | Packages | Core tests |', '| --- | --- | --- | --- |']
    for cell in results['cells']:
        torch = cell.get('machine', {}).get('versions', {}).get('torch', cell['torch'])
        lines.append(f'| {cell["python"]} | {torch} | {packages(cell)} | {verdict(cell)} |')
    return '\n'.join(lines)


def page(results):
    """Return docs/install.md with the table."""
    return with_text(PAGE.read_text(encoding='utf-8'), *MARKS, table(results))


def with_cell(results, cell):
    """Return the results with this cell's in place of an earlier one, in the order of ``CELLS``.

    Folders of tests that did not run again stay, if the packages are the same.
    """
    cells = {key(each): each for each in results.get('cells', [])}
    old = cells.get(key(cell), {})
    if 'folders' in cell and old.get('machine', {}).get('versions') == cell['machine']['versions']:
        cell = dict(cell, folders={**old.get('folders', {}), **cell['folders']})
    cells[key(cell)] = cell
    order = sorted(cells, key=lambda name: CELLS.index(name) if name in CELLS else len(CELLS))
    return dict(machine=describe(), cells=[cells[name] for name in order])


def cell_name(text):
    """Check the name of a cell."""
    parts = text.split('/')
    if len(parts) != 3 or parts[0] not in FAMILIES or not all(parts):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no cell: FAMILY/PYTHON/TORCH, as in {CELLS[1]}; families: {', '.join(FAMILIES)}"
        )
    return text


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('cells', nargs='*', type=cell_name, help='FAMILY/PYTHON/TORCH (default: all)')
    parser.add_argument('--folder', type=Path, default=ROOT / 'work_dirs/stacks', help='of environments')
    parser.add_argument('--tests', nargs='+', default=TESTS, help='what pytest runs (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes of pytest')
    parser.add_argument('--remove', action='store_true', help='delete each environment after its tests')
    parser.add_argument('--page', action='store_true', help='only write the page, from the results file')
    args = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in [] if args.page else args.cells or CELLS:
        folder = args.folder.absolute() / name.replace('/', '-')
        print(f'== {name}: {folder}', flush=True)
        cell = run_cell(name, folder, args.tests, args.workers)
        print(f'   {verdict(cell)}', flush=True)
        results = with_cell(results, cell)
        write_file(RESULTS, json.dumps(results, indent=1) + '\n')  # after each: a cell takes long
        if args.remove:
            shutil.rmtree(folder / 'env', ignore_errors=True)
    write_page(PAGE, page(results))


if __name__ == '__main__':
    sys.exit(main())
