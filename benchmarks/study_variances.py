"""Show what makes up the variance of a difference in AP in simulated studies, beside the real ones.

python benchmarks/study_variances.py      write results/study_variances.json
"""

import json
from pathlib import Path

import numpy as np
from machine import describe
from study_coverage import CELLS, SEED, TITLES, simulate_scores
from study_detections import generated_pool

from mmattn.files import write_file
from mmattn.study.statistics import compare

RESULTS = Path(__file__).resolve().parents[1] / 'benchmarks/results/study_variances.json'
SIMULATED = ('null-2000-3', 'seeds-2000-3', 'corner-2000-3')
STUDIES = 100


def variances(cell, pool):
    """Return the mean parts of the variance over some studies of a cell."""
    found = []
    for study in range(STUDIES):
        scores = simulate_scores(np.random.default_rng([SEED, study]), pool, cell)
        parts = next(each.parts for each in compare(scores, scores.variants[0]) if each.metric == 'bbox/AP')
        found.append([parts.between_seeds, parts.own_images, parts.shared_images])
    return dict(zip(('between_seeds', 'own_images', 'shared_images'), np.mean(found, 0).tolist()))


if __name__ == '__main__':
    pool = generated_pool()
    cells = {
        name: dict(
            title=TITLES[name.partition('-')[0]],
            paired_seeds=CELLS[name].seeds,
            variances=variances(CELLS[name], pool),
        )
        for name in SIMULATED
    }
    write_file(RESULTS, json.dumps(dict(machine=describe(), studies=STUDIES, cells=cells), indent=1) + '\n')
