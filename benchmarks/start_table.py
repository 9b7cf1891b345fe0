"""Write the results of ``start.py`` into docs/faq.md, between its markers.

python benchmarks/start_table.py
"""

import json
import textwrap
from pathlib import Path
from statistics import mean, stdev

from pages import with_text, write_page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / 'benchmarks/results/start_bccd.json'
PAGE = ROOT / 'docs/faq.md'
MARKERS = '<!-- start.json -->', '<!-- end -->'
# The 97.5 % quantile of Student's t, by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
LABELS = dict(
    plain='no attention',
    identity="CBAM, `start='identity'`",
    paper="CBAM, `start='paper'`",
    adapter="CBAM, `start='identity'`, `freeze_detector=True`",
)


def interval(values):
    """Return the mean, and half the width of its 95 % interval."""
    return mean(values), T[len(values) - 1] * stdev(values) / len(values) ** 0.5


def table(result):
    """Return the results as Markdown."""
    runs = {(run['arm'], run['seed']): run for run in result['runs']}
    arms = list(dict.fromkeys(run['arm'] for run in result['runs']))
    seeds = sorted({run['seed'] for run in result['runs']})
    lines = [
        '| | trained parameters | AP before the first step | AP after, by seed | mean | difference from no '
        'attention, paired, with 95 % interval |',
        '|---|---|---|---|---|---|',
    ]
    for arm in arms:
        own = [runs[arm, seed] for seed in seeds]
        after = [run['after']['bbox_mAP'] for run in own]
        before = sorted({run['before']['bbox_mAP'] for run in own})
        difference = '-'
        if arm != 'plain':
            center, half = interval(
                [value - runs['plain', seed]['after']['bbox_mAP'] for value, seed in zip(after, seeds)]
            )
            difference = f'{center:+.3f} ± {half:.3f}'
        lines.append(
            f'| {LABELS[arm]} | {own[0]["trained"]:,} | {", ".join(f"{each:.3f}" for each in before)} | '
            f'{", ".join(f"{each:.3f}" for each in after)} | {mean(after):.3f} | {difference} |'
        )
    machine, base = result['machine'], result['base']
    same = all(
        run['before']['predictions'] == base['after']['predictions']
        for run in result['runs']
        if run['arm'] in ('plain', 'identity', 'adapter')
    )
    lines += [
        '',
        textwrap.fill(
            f'`{result["data"]}` at {result["size"]} pixels; `{result["config"]}`, made small; '
            f'{base["iterations"]} iterations without attention from scratch (AP '
            f'{base["after"]["bbox_mAP"]:.3f}), then {result["runs"][0]["iterations"]} of fine-tuning, seeds '
            f'{", ".join(map(str, seeds))}. Predictions '
            f"before the first step with `start='identity'`: {'bit for bit' if same else 'NOT'} those of the "
            f'detector without attention. {machine["processor"]}, {machine["threads"]} thread, torch '
            f'{machine["versions"]["torch"]}; `{machine["command"]}`.',
            width=108,
            break_long_words=False,
            break_on_hyphens=False,
        ),
    ]
    return '\n'.join(lines) + '\n'


def insert(page, text):
    """Return ``page`` with ``text`` between the markers."""
    return with_text(page, *MARKERS, text.removesuffix('\n'))


def main():
    write_page(PAGE, insert(PAGE.read_text(encoding='utf-8'), table(json.loads(RESULTS.read_text()))))


if __name__ == '__main__':
    main()
