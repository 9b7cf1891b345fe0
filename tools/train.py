#!/usr/bin/env python
"""Train a detector: MMDetection's options, and --data-root."""

from torch.distributed.elastic.multiprocessing.errors import record

from mmattn.engine import train
from mmattn.engine.cli import Parser, add_run_options, parse_run, run_tool


def parse_args():
    parser = Parser(description=__doc__)
    parser.add_argument('config', help='train config file path')
    parser.add_argument('--work-dir', help='the dir to save logs and models')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision (GPU only)')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate to the batch size in use'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from this checkpoint; without a value, from the latest in the work dir',
    )
    add_run_options(parser)
    return parse_run(parser)


def main():
    train(**parse_args())


if __name__ == '__main__':
    record(run_tool)(main)  # torchrun shows the error of the process that failed first
