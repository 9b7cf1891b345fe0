#!/usr/bin/env python
"""Generate shapes, train a small Faster R-CNN with CBAM from scratch, evaluate, show the result.

    python tools/demo.py          # result in work_dirs/demo; index.html there shows all of it

Exit code 1 if the detector misses the demo's targets.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

# Read when torch is loaded. OpenMP threads that wait by spinning hold each other up when anything
# else runs on the machine; sleeping ones do not.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmattn.demo import run_demo  # noqa: E402
from mmattn.engine import DATA_ROOT_VARIABLE  # noqa: E402
from mmattn.engine.cli import Parser, add_cfg_options, add_trust_option, run_tool  # noqa: E402

CONFIG = Path(__file__).parents[1] / 'configs/shapes/faster-rcnn_r18-cbam_fpn_shapes.py'


def parse_args():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default=CONFIG, help='a config on shapes (default: %(default)s)')
    parser.add_argument(
        '--data-root',
        default=os.environ.get(DATA_ROOT_VARIABLE) or 'data/shapes',
        help=f'folder of the shapes, made if absent (default: {DATA_ROOT_VARIABLE}, else data/shapes)',
    )
    parser.add_argument(
        '--work-dir',
        default='work_dirs/demo',
        help='where the result goes; an earlier one is moved aside (default: %(default)s)',
    )
    add_trust_option(parser)
    add_cfg_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    result = run_demo(
        args.config,
        args.data_root,
        args.work_dir,
        args.cfg_options,
        trust_checkpoint=args.trust_checkpoint,
        command=shlex.join(['python', *sys.argv]),
    )
    print(result)
    if result.misses():
        sys.exit('demo: ' + '; '.join(result.misses()))


if __name__ == '__main__':
    run_tool(main)
