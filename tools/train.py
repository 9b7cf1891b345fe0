#!/usr/bin/env python
"""Train a detector: MMDetection's options, and --data-root."""

import argparse
import os

from mmengine.config import DictAction
from torch.distributed.elastic.multiprocessing.errors import record

from mmattn.engine import train


def parse_args():
    parser = argparse.ArgumentParser(description='Train a detector')
    parser.add_argument('config', help='train config file path')
    parser.add_argument('--work-dir', help='the dir to save logs and models')
    parser.add_argument(
        '--data-root', help="folder of the data set (else MMATTN_DATA_ROOT, else the config's)"
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (GPU only)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate to the batch size in use'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint; without a value, from the latest in the work dir',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config: key=value, key="[a,b]", '
        'key="[(a,b),(c,d)]" (quoted, without blanks)',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


@record  # so that torchrun shows the error of the process that failed first
def main():
    args = vars(parse_args())
    del args['local_rank']
    train(**args)


if __name__ == '__main__':
    main()
