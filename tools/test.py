#!/usr/bin/env python
"""Evaluate a checkpoint, or the .onnx file made of it: MMDetection's options, and --data-root."""

from torch.distributed.elastic.multiprocessing.errors import record

from mmattn.engine import test
from mmattn.engine.cli import Parser, add_run_options, parse_run, run_tool


def parse_args():
    parser = Parser(description=__doc__)
    parser.add_argument('config', help='test config file path')
    parser.add_argument('checkpoint', help='checkpoint file, or .onnx of tools/export.py')
    parser.add_argument('--work-dir', help='the dir to save the evaluation metrics')
    parser.add_argument('--out', help='dump predictions to a pickle file for offline evaluation')
    parser.add_argument('--show', action='store_true', help='show prediction results')
    parser.add_argument('--show-dir', help='save painted images to work_dir/timestamp/SHOW_DIR')
    parser.add_argument('--wait-time', type=float, default=2, help='the interval of show (s)')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    add_run_options(parser)
    return parse_run(parser)


def main():
    test(**parse_args())


if __name__ == '__main__':
    record(run_tool)(main)  # torchrun shows the error of the process that failed first
