"""Put the reports of finished studies into the docs, and what they rest on into benchmarks/results.

    make study
    python benchmarks/study_page.py work_dirs/smallest
    python benchmarks/study_page.py work_dirs/shapes_attention

and so on: the folders that ``STUDIES`` names. Without a folder, the pages are written from the files.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from pages import with_text, write_page

from mmattn.files import write_file
from mmattn.study.evaluation.metrics import SUMMARY
from mmattn.study.plan import runs_in
from mmattn.study.record import read_record

ROOT = Path(__file__).parents[1]
RESULTS, DOCS = ROOT / 'benchmarks/results', ROOT / 'docs'
SIMULATED = RESULTS / 'study_variances.json'
WHOLE = 'study.md'  # the page that shows all of a study's tables
STUDIES = dict(
    smallest=WHOLE,
    shapes_attention=WHOLE,
    pretrained_start_bccd=WHOLE,
    pretrained_start_early=WHOLE,
    distillation_shapes='distill.md',
    **{f'pruning_{each}': 'prune.md' for each in ('shapes_0.8', 'shapes_0.6', 'folder_0.9', 'folder_0.8')},
)
PAIRS = dict(  # what a variant is compared with, besides the control
    distillation_shapes=dict(plain_by_cbam='plain_by_plain', cbam_by_plain='cbam'),
    **{name: dict(gates='random') for name in STUDIES if name.startswith('pruning')},
)
END = '<!-- end of the study -->'
LEFT_OUT = ('images_that_differ_most', 'drawn_images', 'annotations')


def file_of(study):
    """Return the file of a study's results."""
    return RESULTS / f'study_{study}.json'


def collect(folder):
    """Return the report of a study, the files of its runs by their hashes, and the machine."""
    report = json.loads((folder / 'report/report.json').read_text(encoding='utf-8'))
    records = [record for run in runs_in(folder) if (record := read_record(run.folder)).get('seconds')]
    for run in report['runs']:
        run['files'] = {part: each['sha256'] for part, each in run['files'].items()}
    comparisons = [each for each in report['comparisons'] if is_of_all_classes(each)]
    return dict(
        machine=records[0]['machine'],
        minutes=sum(record['seconds'] for record in records) / 60,
        by_epoch=differences_by_epoch(folder, report),
        pairs=differences_in_pairs(folder, report),
        **{key: value for key, value in report.items() if key not in LEFT_OUT},
    ) | dict(comparisons=comparisons)


def differences_by_epoch(folder, report):
    """Compare the variants at every evaluation whose detections were kept."""
    names = [report['control'], *(name for name in report['variants'] if name != report['control'])]
    of_control = (folder / names[0] / f'seed_{seeds_of(report)[0]}' / 'evaluations').glob('epoch_*.bbox.json')
    return {
        epoch: compared(folder, report, names, f'evaluations/epoch_{epoch}.bbox.json', f'epoch_{epoch}')
        for epoch in sorted(int(path.name.split('.')[0].removeprefix('epoch_')) for path in of_control)
    }


def differences_in_pairs(folder, report):
    """Compare the variants of ``PAIRS`` with what they are paired with instead of the control."""
    return [
        each | dict(control=other)
        for name, other in PAIRS.get(folder.name, {}).items()
        for each in compared(folder, report, (other, name), 'detections.bbox.json', f'{name}_{other}')
    ]


def compared(folder, report, names, file, out):
    """Return the differences in AP from the first variant, by ``tools/study.py compare``."""
    variants = [
        f'{name}={",".join(str(folder / name / f"seed_{seed}" / file) for seed in seeds_of(report))}'
        for name in names
    ]
    out = folder / 'report' / out
    tool = [sys.executable, ROOT / 'tools/study.py', 'compare', *variants, '--main', '--out', out]
    subprocess.run([*map(str, tool), '--ann', report['annotations']], check=True)
    found = json.loads((out / 'report.json').read_text(encoding='utf-8'))['comparisons']
    return [each for each in found if each['metric'] == 'bbox/AP']


def seeds_of(report):
    return sorted({run['seed'] for run in report['runs']})


def is_of_all_classes(comparison):
    return comparison['metric'].removeprefix('bbox/') in SUMMARY


def points(fraction, sign=''):
    return f'{100 * fraction:{sign}.2f}'


def metrics_table(results):
    """Return all metrics of a study with one variant."""
    rows = [
        f'| metric | variant | {results["control"]} | mean | difference | {percent(results)} interval '
        '| verdict |',
        '|---|---|--:|--:|--:|--:|---|',
    ]
    for each in results['comparisons']:
        if each['difference'] is not None:
            rows.append(
                f'| {each["metric"].removeprefix("bbox/")} | {each["variant"]} '
                f'| {points(each["mean_control"])} ± {points(each["spread_control"])} '
                f'| {points(each["mean"])} ± {points(each["spread"])} | {points(each["difference"], "+")} '
                f'| {interval(each)} | {each["verdict"]} |'
            )
    return '\n'.join(rows)


def variants_table(results):
    """Return the AP of all variants of a study, with their costs."""
    costs = {each['model']: each for each in results['costs']}
    ap = {each['variant']: each for each in results['comparisons'] if each['metric'] == 'bbox/AP'}
    any_of = next(iter(ap.values()))
    rows = [
        f'| variant | attention, parameters | AP | difference | {percent(results)} interval | p, Holm '
        '| verdict |',
        '|---|--:|--:|--:|--:|--:|---|',
        f'| {results["control"]} | {costs[results["control"]]["attention_parameters"]:,} '
        f'| {points(any_of["mean_control"])} ± {points(any_of["spread_control"])} | | | | |',
    ]
    for variant, each in ap.items():
        rows.append(
            f'| {variant} | {costs[variant]["attention_parameters"]:,} '
            f'| {points(each["mean"])} ± {points(each["spread"])} | {points(each["difference"], "+")} '
            f'| {interval(each)} | {each["p_holm"]:.3f} | {each["verdict"]} |'
        )
    for each in results.get('pairs', ()):
        rows.append(
            f'| {each["variant"]}, from {each["control"]} | | | {points(each["difference"], "+")} '
            f'| {interval(each)} | | {each["verdict"]} |'
        )
    return '\n'.join(rows)


def epochs_table(results):
    """Return the AP of each variant at each kept evaluation, and its difference from the control."""
    epochs = results['by_epoch']
    rows = [
        f'| | {" | ".join(f"epoch {epoch}" for epoch in epochs)} |',
        f'|---|{"--:|" * len(epochs)}',
        f'| {results["control"]} | '
        + ' | '.join(points(each[0]['mean_control']) for each in epochs.values())
        + ' |',
    ]
    for variant in (each['variant'] for each in next(iter(epochs.values()))):
        found = [each for of_epoch in epochs.values() for each in of_epoch if each['variant'] == variant]
        cells = [
            f'{points(each["mean"])}: {points(each["difference"], "+")} ({interval(each)})' for each in found
        ]
        rows.append(f'| {variant} | {" | ".join(cells)} |')
    return '\n'.join(rows)


def sizes_table(results):
    """Return the differences of the other metrics, a column for each variant."""
    found = {(each['metric'], each['variant']): each for each in results['comparisons']}
    metrics = ['AP50', 'AP75', 'AP_s', 'AP_m', 'AP_l', 'AR@100']
    variants = [each for each in results['variants'] if each != results['control']]
    rows = [f'| variant | {" | ".join(metrics)} |', f'|---|{"--:|" * len(metrics)}']
    for variant in variants:
        cells = [found[f'bbox/{metric}', variant] for metric in metrics]
        rows.append(
            f'| {variant} | '
            + ' | '.join(f'{points(each["difference"], "+")} ({interval(each)})' for each in cells)
            + ' |'
        )
    return '\n'.join(rows)


def variances_table(results):
    """Return of what the variance of each difference in AP is made, in squared points."""
    rows = [
        '| variant | between seeds | of these by images | images, shared by all seeds | share of images |',
        '|---|--:|--:|--:|--:|',
    ]
    simulated = json.loads(SIMULATED.read_text(encoding='utf-8'))['cells'].values()
    of_ap = [each for each in results['comparisons'] if each['metric'] == 'bbox/AP']
    for name, each in [
        *((each['variant'], each) for each in of_ap),
        *((f'simulated: {each["title"]}', each) for each in simulated),
    ]:
        between, own, shared = (1e4 * value for value in each['variances'].values())
        share = shared / (between / each['paired_seeds'] + shared)
        rows.append(f'| {name} | {between:.3f} | {own:.3f} | {shared:.3f} | {share:.1%} |')
    return '\n'.join(rows)


def percent(results):
    return f'{100 * results["level"]:g} %'


def interval(each):
    return f'{points(each["low"], "+")} to {points(each["high"], "+")}'


def note(results):
    """Return what the study was, and what such a study can find."""
    seeds = len({run['seed'] for run in results['runs']})
    of_ap = [each for each in results['comparisons'] if each['metric'] == 'bbox/AP']
    ap = max(of_ap, key=lambda each: each['detectable'])
    machine = results['machine']
    what = dict(seeds_needed='seeds on these images', images_needed='images with these seeds')
    needed = ' or '.join(f'{ap[key]:,} {of}' for key, of in what.items() if ap[key] is not None)
    return (
        f'{len(results["runs"])} runs, {seeds} seeds, {results["images"]:,} images, '
        f'{results["minutes"]:,.0f} minutes of training in all; {machine["processor"]}, '
        f'torch {machine["versions"]["torch"]}.\nSuch a study finds a difference of '
        f'{100 * ap["detectable"]:.1f} points of AP in 4 of 5 cases.\nA difference of '
        f'{100 * ap["relevant"]:g} takes {needed or "more than was counted"}.'
    )


def text_of(results, whole=True):
    """Return the tables of a study, or its main table."""
    if not whole:
        return '\n\n'.join([variants_table(results), note(results)])
    if len(results['variants']) == 2:
        return '\n\n'.join([metrics_table(results), note(results)])
    return '\n\n'.join(
        [
            variants_table(results),
            note(results),
            *(
                ['AP after each evaluation, and its difference from the control:', epochs_table(results)]
                if results.get('by_epoch')
                else []
            ),
            'Differences from the control in other metrics, with intervals:',
            sizes_table(results),
            'The variance of a difference in AP, in squared points:',
            variances_table(results),
        ]
    )


def pages():
    """Return the pages, by name, with the tables of all studies between their marks."""
    texts = {name: (DOCS / name).read_text(encoding='utf-8') for name in STUDIES.values()}
    for study, name in STUDIES.items():
        results = json.loads(file_of(study).read_text(encoding='utf-8'))
        tables = text_of(results, name == WHOLE)
        texts[name] = with_text(texts[name], f'<!-- benchmarks/study_page.py: {study} -->', END, tables)
    return texts


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('folder', type=Path, nargs='?', help='folder of a study, with its report')
    args = parser.parse_args()
    if args.folder:
        write_file(file_of(args.folder.name), json.dumps(collect(args.folder), indent=1) + '\n')
    for name, text in pages().items():
        write_page(DOCS / name, text)
