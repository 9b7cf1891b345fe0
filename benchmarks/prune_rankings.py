"""Put what ``tools/prune.py`` wrote by each ranking into docs/prune.md.

    python benchmarks/prune_rankings.py work_dirs/pruned/shapes_0.8 work_dirs/pruned/folder_0.8

A folder has one folder for each ranking; configs/studies/pruning_shapes.py says how it is made. Without
a folder, the page is written from the file. Time is measured here, of one ranking before and after: all
give a detector of the same shape.
"""

import argparse
import json
import textwrap
from pathlib import Path

import torch
from machine import describe, in_words
from pages import with_text, write_page

from mmattn.cost import inference, time_interleaved
from mmattn.engine import build_model
from mmattn.files import write_file
from mmattn.pruning import RANKINGS

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / 'benchmarks/results/prune_rankings.json', ROOT / 'docs/prune.md'
MARKS = '<!-- benchmarks/prune_rankings.py -->', '<!-- end -->'
AP = 'coco/bbox_mAP'


def collect(folder, repeats):
    """Return what was taken by each ranking, what that did, and seconds an image before and after."""
    records = {
        rank: json.loads((folder / rank / 'pruning.json').read_text(encoding='utf-8')) for rank in RANKINGS
    }
    size = tuple(records['magnitude']['target']['size'])
    (config,) = (folder / 'magnitude').glob('*_pruned.py')
    models = dict(
        before=build_model(str(config), dict(model=dict(widths=dict(_delete_=True)))),
        after=build_model(str(config)),
    )
    for name, model in models.items():
        count = sum(parameter.numel() for parameter in model.parameters())
        assert count == records['magnitude'][name]['parameters'], (name, count)
    timed = time_interleaved(
        {name: inference(model, size) for name, model in models.items()}, repeats=repeats
    )
    seconds = {name: timing.median for name, timing in timed.items()}
    return dict(seconds=seconds, rankings={rank: brief(record) for rank, record in records.items()})


def brief(record):
    """Return a record with the number of channels that went from each group, without indices and paths."""
    groups = [dict(each, layers=each['layers'][0], taken=len(each['taken'])) for each in record['groups']]
    kept = {key: value for key, value in record.items() if key not in ('config', 'checkpoint')}
    return dict(kept, groups=groups)


def table(targets):
    """Return a row for each target: what the pruned detector costs, and its AP by each ranking."""
    rankings = list(RANKINGS)
    rows = [
        '| detector, target | channels gone | parameters | operations | ms an image | AP before | '
        f'{" | ".join(f"by {rank}" for rank in rankings)} |',
        f'|---|{"--:|" * (5 + len(rankings))}',
    ]
    for name, found in targets.items():
        record = found['rankings']['magnitude']
        gone, total = (sum(each[key] for each in record['groups']) for key in ('taken', 'channels'))
        before, after = record['before'], record['after']
        times = [1000 * found['seconds'][key] for key in ('before', 'after')]
        cells = [
            name.replace('_', ', '),
            f'{gone:,} of {total:,}',
            f'{before["parameters"] / 1e6:.2f} to {after["parameters"] / 1e6:.2f} M',
            f'{before["operations"] / 1e9:.2f} to {after["operations"] / 1e9:.2f} G',
            f'{times[0]:.0f} to {times[1]:.0f}',
            f'{100 * before[AP]:.1f}',
            *(f'{100 * found["rankings"][rank]["after"][AP]:.1f}' for rank in rankings),
        ]
        rows.append(f'| {" | ".join(cells)} |')
    return '\n'.join(rows)


def notes(results):
    """Return what was asked for, and the machine."""
    lines = []
    for name, found in results['targets'].items():
        record = found['rankings']['magnitude']
        target, size = record['target'], 'x'.join(map(str, record['target']['size']))
        limits = ' and '.join(
            f'at most {100 * target[key]:g} % of the {of}'
            for key, of in (('ops', 'operations'), ('parameters', 'parameters'))
            if target[key] is not None
        )
        ignored = ', '.join(f'`{each}`' for each in record['ignore'])
        lines.append(f'- {name.replace("_", ", ")}: {limits}, images of {size}; not pruned: {ignored}.')
    lines.append(f'- {in_words(results["machine"])}.')
    return '\n'.join(textwrap.fill(line, 118, subsequent_indent='  ') for line in lines)


def page(results):
    """Return the page with the table between its marks."""
    text = f'{table(results["targets"])}\n\n{notes(results)}'
    return with_text(PAGE.read_text(encoding='utf-8'), *MARKS, text)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('folders', type=Path, nargs='*', help='folders of pruned detectors, one a target')
    parser.add_argument('--repeats', type=int, default=30, help='timed images (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=2, help='of PyTorch (default: %(default)s)')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.folders:
        targets = {folder.name: collect(folder, args.repeats) for folder in args.folders}
        write_file(RESULTS, json.dumps(dict(machine=describe(), targets=targets), indent=1) + '\n')
    write_page(PAGE, page(json.loads(RESULTS.read_text(encoding='utf-8'))))
