"""Put the report of a finished study into docs/study.md, and what it rests on into benchmarks/results.

    make study
    python benchmarks/study_page.py work_dirs/smallest

Without a folder, the page is written from the file.
"""

import argparse
import json
from pathlib import Path

from pages import with_text

from mmattn.files import write_file
from mmattn.study.evaluation.metrics import SUMMARY
from mmattn.study.plan import runs_in
from mmattn.study.record import read_record

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / 'benchmarks/results/study_smallest.json', ROOT / 'docs/study.md'
BEGIN, END = '<!-- benchmarks/study_page.py -->', '<!-- end of the study -->'
ROW = (
    '| {metric} | {variant} | {mean_control:.2f} ± {spread_control:.2f} | {mean:.2f} ± {spread:.2f} '
    '| {difference:+.2f} | {low:+.2f} to {high:+.2f} | {verdict} |'
)
LEFT_OUT = ('images_that_differ_most', 'drawn_images', 'annotations')


def collect(folder):
    """Return the report of a study, the files of its runs by their hashes, and the machine."""
    report = json.loads((folder / 'report/report.json').read_text(encoding='utf-8'))
    records = [read_record(run.folder) for run in runs_in(folder)]
    for run in report['runs']:
        run['files'] = {part: each['sha256'] for part, each in run['files'].items()}
    return dict(
        machine=records[0]['machine'],
        minutes=sum(record['seconds'] for record in records) / 60,
        **{key: value for key, value in report.items() if key not in LEFT_OUT},
    )


def page(results):
    """Return the page with the table of a study between its marks."""
    percent = f'{100 * results["level"]:g} %'
    rows = [
        f'| metric | variant | {results["control"]} | mean | difference | {percent} interval | verdict |',
        '|---|---|--:|--:|--:|--:|---|',
    ]
    for each in results['comparisons']:
        if each['metric'].removeprefix('bbox/') in SUMMARY and each['difference'] is not None:
            points = {key: 100 * each[key] for key in each if isinstance(each[key], float)}
            cells = dict(each, **points, metric=each['metric'].removeprefix('bbox/'))
            rows.append(ROW.format(**cells))
    seeds = len({run['seed'] for run in results['runs']})
    ap = next(each for each in results['comparisons'] if each['metric'] == 'bbox/AP')
    machine = results['machine']
    note = (
        f'{seeds} seeds, {results["images"]} images, {results["minutes"]:.0f} minutes of training in all; '
        f'{machine["processor"]}, torch {machine["versions"]["torch"]}.\nSuch a study finds a difference of '
        f'{100 * ap["detectable"]:.1f} points of AP in 4 of 5 cases. '
        f'A difference of {100 * ap["relevant"]:g} takes {ap["seeds_needed"]} seeds\non these images, or '
        f'{ap["images_needed"]:,} images with these seeds.'
    )
    text = '\n'.join([*rows, '', note])
    return with_text(PAGE.read_text(encoding='utf-8'), BEGIN, END, text)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('folder', type=Path, nargs='?', help='folder of the study, with its report')
    args = parser.parse_args()
    if args.folder:
        write_file(RESULTS, json.dumps(collect(args.folder), indent=1) + '\n')
    write_file(PAGE, page(json.loads(RESULTS.read_text(encoding='utf-8'))))
