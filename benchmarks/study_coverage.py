#!/usr/bin/env python
"""Simulate studies on detections: how often the interval covers the truth, and claims are false.

python benchmarks/study_coverage.py           # all cells that the results file lacks, and the page
python benchmarks/study_coverage.py --page    # the page alone, from the results file
python benchmarks/study_coverage.py --cells null-100-3 --studies 100 -o -
python benchmarks/study_coverage.py --cells null-500-3 --data NAME --annotations FILE
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]
import numpy as np  # noqa: E402
from machine import describe  # noqa: E402
from pages import with_text  # noqa: E402
from study_ap import average_precision  # noqa: E402
from study_detections import Detections, Effects, Pool, coco_pool, generated_pool, simulate  # noqa: E402
from study_methods import METHODS, one_pair, pooled, shipped  # noqa: E402

from mmattn.files import write_file  # noqa: E402
from mmattn.study import Scores  # noqa: E402
from mmattn.study.statistics import (  # noqa: E402
    PairedDifference,
    Verdict,
    compare,
    jackknife_covariance,
    obuchowski_rockette,
    paired_difference,
)

RESULTS = ROOT / 'benchmarks/results/study_coverage.json'
PAGE = ROOT / 'docs/study_statistics.md'
MARKS = '<!-- written by benchmarks/study_coverage.py -->', '<!-- end -->'
GROUPS = 50
STUDIES = 1000
SEED = 20260101


@dataclass(frozen=True)
class Cell:
    """Studies that are alike.

    Args:
        images: Number of images.
        seeds: Number of seeds.
        effects: Random effects.
        variants: Number of variants, the control included.
    """

    images: int
    seeds: int
    effects: Effects = Effects()
    variants: int = 2


SEEDS_PREVAIL = Effects(run=0.15, image_seed=0.1, image_variant=1.5, detection=0.2, box=0.03)
SEEDS_ALONE = replace(SEEDS_PREVAIL, image_variant=0.8, image_seed=0.05, detection=0.05, box=0.01)
INTERACTION = Effects(image_variant=2.0)
NOISIER = Effects(last_run=6.0)
BETTER = Effects(last_shift=0.6)
CELLS = {
    **{f'null-{n}-{s}': Cell(n, s) for n in (100, 500, 2000) for s in (3, 5, 10)},
    **{f'interaction-500-{s}': Cell(500, s, INTERACTION) for s in (3, 5, 10)},
    **{f'seeds-2000-{s}': Cell(2000, s, SEEDS_PREVAIL) for s in (3, 5, 10)},
    **{f'corner-2000-{s}': Cell(2000, s, SEEDS_ALONE) for s in (2, 3)},
    **{f'two-{n}-2': Cell(n, 2) for n in (500, 2000)},
    'noisier-2000-3': Cell(2000, 3, NOISIER, 5),
    **{f'family-500-{s}': Cell(500, s, variants=5) for s in (3, 5, 10)},
    'better-500-5': Cell(500, 5, BETTER),
}
TITLES = dict(
    null='no difference',
    interaction='the same, images suit one variant much more than the other',
    seeds='the same, seeds matter about as much as images',
    corner='the same, seeds matter much more than images',
    two='no difference, two seeds',
    noisier='the last of 5 variants varies 6 times as much between seeds',
    family='no difference, 4 variants and the control',
    better='the variant is better',
)


def simulate_scores(rng: np.random.Generator, pool: Pool, cell: Cell) -> Scores:
    """Simulate one study and evaluate it."""
    object_image, _, runs = simulate(rng, pool, cell.effects, cell.images, cell.variants, cell.seeds)
    return scores_of(runs, object_image, rng.permutation(cell.images) % GROUPS)


def scores_of(runs: list[list[Detections]], object_image: np.ndarray, group: np.ndarray) -> Scores:
    """Return AP and AP50 of the runs of a study, whose images are in these groups."""
    objects = np.bincount(group[object_image], minlength=GROUPS)
    found = [
        average_precision(d.scores, d.target, d.overlap, group[d.image], objects)
        for variant in runs
        for d in variant
    ]
    metrics = np.stack([[each.mean(0) for each in found], [each[0] for each in found]])
    metrics = metrics.reshape(2, len(runs), len(runs[0]), 1 + GROUPS)
    return Scores(
        variants=tuple(f'variant {v}' for v in range(len(runs))),
        seeds=tuple(range(len(runs[0]))),
        images=len(group),
        metrics=('bbox/AP', 'bbox/AP50'),
        values=metrics[..., 0],
        jackknife=metrics[..., 1:],
    )


def measure(cell: Cell, pool: Pool, studies: int, seed: int) -> dict:
    """Simulate the studies of a cell; return what they found of the last variant against the first.

    The truth is zero where variants differ by nothing, else the mean difference over all studies.
    """
    began = time.process_time()
    centres, halves, families, verdicts = defaultdict(list), defaultdict(list), defaultdict(list), []
    for study in range(studies):
        scores = simulate_scores(np.random.default_rng([seed, study]), pool, cell)
        ap, ap50 = np.split(np.array(compare(scores, control=scores.variants[0])), 2)
        of_ap = [each.parts for each in ap]
        first = paired_difference(
            scores.values[0, -1, :1] - scores.values[0, 0, :1],
            scores.jackknife[0, -1, :1] - scores.jackknife[0, 0, :1],
        )
        halves['images, one pair'].append(one_pair(first))
        centres['images, one pair'].append(first.mean)
        for name, method in METHODS.items():
            halves[name].append(method(of_ap[-1]))
            families[name].append(_any_claim(of_ap, method))
        halves['shipped, AP50'].append(shipped(ap50[-1].parts))
        centres['shipped, AP50'].append(ap50[-1].difference)
        if cell.variants > 2:
            halves['OR, pooled'].append(pooled(_analyse(scores)))
        for name in halves:
            if len(centres[name]) == study:
                centres[name].append(ap[-1].difference)
        verdicts.append(ap[-1].verdict)
    same = cell.effects.last_run == 1 and cell.effects.last_shift == 0
    return dict(
        cell=asdict(cell),
        studies=studies,
        methods={name: _rates(np.array(centres[name]), np.array(halves[name]), same) for name in halves},
        familywise={name: float(np.mean(claims)) for name, claims in families.items()} if same else None,
        verdicts={each.value: verdicts.count(each) / studies for each in Verdict},
        seconds=round(time.process_time() - began, 1),
    )


def _rates(centre: np.ndarray, half: np.ndarray, same: bool) -> dict[str, float]:
    """Return how often intervals cover the truth, lie above it, lie above zero, and how wide they are."""
    truth = 0.0 if same else float(centre.mean())
    return dict(
        truth=truth,
        error=float(centre.std(ddof=1)),
        coverage=float((abs(centre - truth) <= half).mean()),
        false_wins=float((centre - half > truth).mean()),
        wins=float((centre - half > 0).mean()),
        half_width=float(half.mean()),
    )


def _any_claim(comparisons: list[PairedDifference], method: Callable) -> bool:
    """Return whether Holm's procedure rejects anything: the smallest p value at level / number."""
    return any(abs(each.mean) > method(each, 1 - 0.05 / len(comparisons)) for each in comparisons)


def _analyse(scores: Scores):
    of_runs = scores.jackknife[0].reshape(-1, scores.groups)
    shape = scores.values[0].shape
    return obuchowski_rockette(scores.values[0], jackknife_covariance(of_runs).reshape(*shape, *shape))


def seed_of(name: str) -> int:
    """Return the seed of a cell, which does not depend on the others."""
    return SEED + zlib.crc32(name.encode())


def page(results: dict) -> str:
    """Return the tables of what was measured."""
    cells = {name: results['cells'][name] for name in CELLS}
    columns = [
        't over seeds',
        'images, one pair',
        'images, all seeds',
        'OR, Hillis',
        'v3',
        'shipped',
        'shipped, AP50',
    ]
    lines = [
        f'{results["studies"]} studies a cell; the Monte Carlo error of a coverage of .95 is '
        f'{(0.95 * 0.05 / results["studies"]) ** 0.5:.3f}. Coverage of the interval of 95 %:',
        '',
        f'| | images | seeds | {" | ".join(columns)} |',
        f'|---|---|---|{"---|" * len(columns)}',
    ]
    for name, found in cells.items():
        lines.append(_row(name, found, [_rate(found['methods'][each]['coverage']) for each in columns]))
    lines += ['', 'False wins (the interval lies above the truth), and mean half widths in AP points:', '']
    columns = ['OR, Hillis', 'v3', 'shipped']
    lines.append(
        f'| | images | seeds | {" | ".join(columns)} | {" | ".join(f"width, {each}" for each in columns)} |'
    )
    lines.append(f'|---|---|---|{"---|" * 2 * len(columns)}')
    for name, found in cells.items():
        of = [found['methods'][each] for each in columns]
        values = [_rate(each['false_wins']) for each in of]
        lines.append(_row(name, found, values + [f'{100 * each["half_width"]:.2f}' for each in of]))
    columns = ['t over seeds', 'OR, Hillis', 'v3', 'shipped']
    lines += ['', 'Studies of 4 variants that equal the control with any claim, by Holm:', '']
    lines += [f'| images | seeds | {" | ".join(columns)} |', f'|---|---|{"---|" * len(columns)}']
    for name, found in cells.items():
        if name.startswith('family'):
            size = [str(found['cell']['images']), str(found['cell']['seeds'])]
            lines.append(f'| {" | ".join(size + [_rate(found["familywise"][each]) for each in columns])} |')
    noisier, better = cells['noisier-2000-3']['methods'], cells['better-500-5']['methods']
    lines += [
        '',
        f'With variances pooled over all variants, the interval of the noisier variant covers the truth in '
        f'{_rate(noisier["OR, pooled"]["coverage"])} of the studies. A true difference of '
        f'{100 * better["shipped"]["truth"]:.2f} points is found by {_rate(better["shipped"]["wins"])} of '
        f"the studies of 500 images and 5 seeds, by {_rate(better['OR, Hillis']['wins'])} with Hillis' "
        f'degrees of freedom and by {_rate(better["v3"]["wins"])} with v3.',
    ]
    for name, of_data in results.get('data', {}).items():
        rows = ', '.join(
            f'{found["cell"]["images"]} images and {found["cell"]["seeds"]} seeds '
            f'{_rate(found["methods"]["shipped"]["coverage"])}'
            for found in of_data.values()
        )
        lines += ['', f'Coverage with the boxes of {name} in place of made ones, no difference: {rows}.']
    seconds = sum(found['seconds'] for found in cells.values())
    lines += [
        '',
        f'Measured on {results["machine"]["processor"]} with `{results["machine"]["command"]}`, in '
        f'{seconds / 60:.0f} minutes of one core.',
    ]
    return '\n'.join(line if line.startswith('|') else textwrap.fill(line, 118) for line in lines)


def _row(name: str, found: dict, values: list[str]) -> str:
    title = TITLES[name.split('-')[0]]
    return f'| {" | ".join([title, str(found["cell"]["images"]), str(found["cell"]["seeds"]), *values])} |'


def _rate(value: float) -> str:
    return f'{value:.3f}'.removeprefix('0')


def main() -> None:
    """Measure the cells that are asked for; write the results file and the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--page', action='store_true', help='only write the page, from the file')
    parser.add_argument('--cells', nargs='+', choices=CELLS, default=list(CELLS), metavar='CELL')
    parser.add_argument('--studies', type=int, default=STUDIES)
    parser.add_argument('--data', help='name of the data of --annotations')
    parser.add_argument('--annotations', type=Path, help='COCO annotations, whose boxes replace made ones')
    parser.add_argument('--detections', type=Path, help='detections of their images; else made ones')
    parser.add_argument('-o', '--out', default=str(RESULTS), help='results file; - to print what is found')
    args = parser.parse_args()
    if args.page:
        return _write_page(json.loads(RESULTS.read_text()))
    pool = coco_pool(args.annotations, args.detections) if args.annotations else generated_pool()
    out = Path(args.out)
    results = json.loads(out.read_text()) if out.is_file() else {}
    cells = results.get('cells', {})
    if args.annotations:
        cells = results.setdefault('data', {}).setdefault(args.data, {})
    for name in args.cells:
        if name in cells and args.out != '-':
            continue
        cells[name] = measure(CELLS[name], pool, args.studies, seed_of(name))
        shipped_one = cells[name]['methods']['shipped']
        print(f'{name}: coverage {_rate(shipped_one["coverage"])}, {cells[name]["seconds"]} s', flush=True)
        if args.out == '-':
            print(json.dumps(cells[name], indent=1))
        elif not args.annotations:
            results = dict(results, machine=describe(), studies=args.studies, cells=cells)
        if args.out != '-':
            write_file(out, json.dumps(results, indent=1) + '\n')
    if out == RESULTS and cells.keys() >= CELLS.keys():
        _write_page(results)


def _write_page(results: dict) -> None:
    begin, end = MARKS
    write_file(PAGE, with_text(PAGE.read_text(encoding='utf-8'), begin, end, page(results)))


if __name__ == '__main__':
    main()
