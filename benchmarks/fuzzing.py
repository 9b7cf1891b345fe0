"""Mutate configs, annotation files and checkpoints, and write what happened into docs/what_can_go_wrong.md.

python benchmarks/fuzzing.py           run 1000 cases, write results/fuzzing.json and the page
python benchmarks/fuzzing.py --page    the page again, from the file
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from pages import run, with_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/fuzzing.json'
PAGE = ROOT / 'docs/what_can_go_wrong.md'
BEGIN, END = '<!-- benchmarks/fuzzing.py -->', '<!-- end -->'
MUST = dict(
    refused='has to be refused, and was',
    trains='has to train, and did',
    same='has to do so with the bits of the unchanged input, and did',
)


def measure(repeats):
    """Run so many cases."""
    sys.path.insert(0, str(ROOT))
    import torch

    from tests.test_fuzz.many import run_cases

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return run_cases(Path(folder), repeats)


def totals(mutations):
    """Count the cases of a part by what must happen and what did."""
    found = Counter()
    for outcomes in mutations.values():
        for outcome, seen in outcomes.items():
            for what, count in seen.items():
                found[outcome, what] += count
    return found


def page(results):
    """Return the page with the counts of these results."""
    lines = []
    for part, mutations in results['counts'].items():
        found = totals(mutations)
        either = [found['either', what] for what in ('refused', 'trained')]
        texts = [
            f'{sum(n for (must, _), n in found.items() if must == outcome)} of what {text}'
            for outcome, text in MUST.items()
            if any(must == outcome for must, _ in found)
        ]
        if any(either):
            texts.append(f'{either[0]} refused and {either[1]} used of what may be either')
        name = part.replace('annotations', 'annotation files')
        lines.append(f'- {sum(found.values())} {name}, by {len(mutations)} mutations:')
        lines += [f'  - {text}' for text in texts]
    failures = len(results['failures'])
    lines += [
        '',
        f'{failures or "None"} of {results["cases"]} ended otherwise: in a traceback, without a message that',
        'helps, with a file that was changed or is not whole.',
        f'The slowest took {results["slowest_seconds"]} seconds, of 60 that are allowed.',
    ]
    return with_text(PAGE.read_text(encoding='utf-8'), BEGIN, END, '\n'.join(lines))


if __name__ == '__main__':
    run(vars(), measure, repeats=1000)
