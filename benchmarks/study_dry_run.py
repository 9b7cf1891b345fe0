"""Put what the study of Faster R-CNN on COCO costs, as --dry-run says it, into docs/study.md.

    python benchmarks/study_dry_run.py
    python benchmarks/study_dry_run.py --page     # only the page, from the file

COCO is not needed: a folder of as many images stands in for it, and nothing is timed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from pages import run, with_text

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / 'benchmarks/results/study_dry_run.json', ROOT / 'docs/study.md'
BEGIN, END = '<!-- benchmarks/study_dry_run.py -->', '<!-- end of the dry run -->'
STUDY = 'configs/studies/coco_r50_1x.py'
# COCO 2017 as MMDetection's configs use it: images without a box are left out of training
IMAGES = dict(train=118287, empty=1021, val=5000)


def measure(_repeats):
    """Return what the tool prints."""
    sys.path.insert(0, str(ROOT))
    from tests.coco_stand_in import write_coco

    with tempfile.TemporaryDirectory() as folder:
        data = write_coco(Path(folder), **IMAGES)
        return dict(images=IMAGES, printed=printed(data))


def printed(data):
    """Return the output of ``--dry-run`` at a second a step, but for the disk of this machine."""
    command = [
        *(sys.executable, 'tools/study.py', 'run', STUDY),
        *('--dry-run', '--step-seconds', '1', '--workers', '1', '--data-root', str(data)),
        # the weights of ResNet, which need not be here
        *('--cfg-options', 'settings.model.backbone.init_cfg=None'),
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.rpartition(', of which ')[0].rstrip()


def page(results):
    """Return the page with what was printed between its marks."""
    machine, images = results['machine'], results['images']
    blocks = ['```', *results['printed'].splitlines(), '```']
    note = (
        f'`{machine["command"]}` on {machine["processor"]} without a GPU, torch '
        f'{machine["versions"]["torch"]},\nwith a stand-in for COCO: {images["train"]:,} images to train on, '
        f'of which {images["empty"]:,} have no box, and {images["val"]:,} of the\nevaluation.'
    )
    text = '\n'.join([*(line.rstrip() for line in blocks), '', note])
    return with_text(PAGE.read_text(encoding='utf-8'), BEGIN, END, text)


if __name__ == '__main__':
    run(vars(), measure, 1)
