"""Export each block by both of PyTorch's exporters and compare, for docs/export_blocks.md.

    python benchmarks/export_blocks.py           # some minutes
    python benchmarks/export_blocks.py --page    # only the page, from the results file

Weights are random. One file is run on maps of four shapes, three of which are not that of the export.
"""

import argparse
import json
import logging
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import torch  # noqa: E402
from machine import describe  # noqa: E402
from pages import with_text, write_page  # noqa: E402

from mmattn.blocks.contract import EXPORTERS, run_exported  # noqa: E402
from mmattn.files import write_file  # noqa: E402
from tests.test_blocks.cases import all_blocks  # noqa: E402

RESULTS = ROOT / 'benchmarks/results/export_blocks.json'
PAGE = ROOT / 'docs/export_blocks.md'
MARKS = '<!-- benchmarks/export_blocks.py -->', '<!-- end -->'
OPSETS = (11, 17, 18)
"""Opsets to which the newest of each exporter comes."""
NAMES = dict(torchscript='TorchScript', dynamo='dynamo')
FIRST = dict(torchscript=11, dynamo=18)
"""The first of these opsets that each exporter writes itself."""
PACKAGES = ('torch', 'onnx', 'onnxscript', 'onnxruntime')


def newest_opset(exporter):
    """Return the newest opset which the exporter supports and ONNX Runtime loads."""
    import onnx
    import onnxruntime

    model, x = torch.nn.ReLU().eval(), torch.zeros(2, 3, 9, 6)
    with tempfile.TemporaryDirectory() as folder:
        file = f'{folder}/relu.onnx'
        for opset in range(onnx.defs.onnx_opset_version(), max(OPSETS), -1):
            try:
                warnings.filterwarnings('error', 'Exporting to ONNX opset version')  # and it goes on
                EXPORTERS[exporter].export(model, x, file, opset, 1)
                onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
            except Exception:  # too new for the one or the other
                continue
            if {each.domain: each.version for each in onnx.load(file).opset_import}[''] == opset:
                return opset
    raise RuntimeError(f'{exporter} writes no opset above {max(OPSETS)}')


def measure(subject, exporter, opset):
    """Return the file's opset and its largest difference from PyTorch, or why there is none."""
    try:
        outcome = run_exported(subject, exporter, opset)
    except AssertionError as error:
        return dict(failure=str(error))
    return dict(opset=outcome.opset, difference=outcome.largest)


def measure_all():
    """Return the results of all blocks."""
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    opsets = {exporter: [*OPSETS, newest_opset(exporter)] for exporter in EXPORTERS}
    blocks = {}
    for name, subject in all_blocks().items():
        blocks[name] = {
            exporter: {opset: measure(subject, exporter, opset) for opset in opsets[exporter]}
            for exporter in EXPORTERS
        }
        print(name, *(blocks[name][each] for each in EXPORTERS), file=sys.stderr, flush=True)
    machine = describe()
    machine['versions'].update({package: version(package) for package in PACKAGES})
    return dict(machine=machine, opsets=opsets, blocks=blocks)


def cell(outcome):
    """Return the largest difference as the table shows it."""
    return 'fails' if 'failure' in outcome else f'{outcome["difference"]:.0e}'


def table(results):
    """Return the results as Markdown, and what became of opsets that an exporter does not write itself."""
    opsets, blocks = results['opsets'], results['blocks']
    columns = [(name, opset) for name in opsets for opset in opsets[name] if opset >= FIRST[name]]
    lines = [
        '| block | ' + ' | '.join(f'{NAMES[name]} {opset}' for name, opset in columns) + ' |',
        '|---|' + '--:|' * len(columns),
    ]
    for block, found in blocks.items():
        cells = [cell(found[name][str(opset)]) for name, opset in columns]
        lines.append(f'| `{block}` | ' + ' | '.join(cells) + ' |')
    lines.append('')
    for name in opsets:
        for asked in (opset for opset in opsets[name] if opset < FIRST[name]):
            other = sum(found[name][str(asked)].get('opset') != asked for found in blocks.values())
            lines.append(
                f'Asked for opset {asked}, the {NAMES[name]} exporter wrote a file of opset {FIRST[name]} '
                f'for {other} of these {len(blocks)} blocks.'
            )
    packages = ', '.join(f'{package} {results["machine"]["versions"][package]}' for package in PACKAGES)
    return '\n'.join([*lines, '', f'{packages}; `{results["machine"]["command"]}`.'])


def page(results):
    """Return the page with the table of the results."""
    return with_text(PAGE.read_text(encoding='utf-8'), *MARKS, table(results))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--page', action='store_true', help='only write the page, from the file')
    if not parser.parse_args().page:
        write_file(RESULTS, json.dumps(measure_all(), indent=1) + '\n')
    write_page(PAGE, page(json.loads(RESULTS.read_text(encoding='utf-8'))))


if __name__ == '__main__':
    main()
