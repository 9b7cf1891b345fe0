"""The cost of COCO on the page is that of the committed file, and its steps are those of 12 epochs."""

import json
import math
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))
import study_dry_run  # noqa: E402


@pytest.fixture
def results():
    return json.loads(study_dry_run.RESULTS.read_text(encoding='utf-8'))


def test_the_committed_page_is_of_the_committed_file(results):
    assert study_dry_run.page(results) == study_dry_run.PAGE.read_text(encoding='utf-8')


def test_the_steps_are_those_of_the_images(results):
    images = results['images']
    settings = (study_dry_run.ROOT / study_dry_run.STUDY).read_text(encoding='utf-8')
    batch = int(re.search(r'train_dataloader=dict\(batch_size=(\d+)', settings)[1])
    steps = 12 * math.ceil((images['train'] - images['empty']) / batch)
    assert results['printed'].count(f' {steps:,} ') == 4
