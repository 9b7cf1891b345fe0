#!/usr/bin/env python
"""Export a trained detector, with or without attention, as one ONNX file: images in, detections out."""

import sys

from mmattn.engine.cli import (
    Parser,
    add_cfg_options,
    add_data_root_option,
    add_trust_option,
    run_tool,
)
from mmattn.export import check_file, export_file
from mmattn.export.whole_detector import EXPORTERS, OPSET
from mmattn.insertion import brief_log


def parse_args():
    parser = Parser(description=__doc__)
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out', metavar='OUT', help='file to write: .onnx, or .pt2 for torch.export')
    parser.add_argument(
        '--normalized-input',
        action='store_true',
        help='the file takes images that are normalised already, instead of doing it itself',
    )
    parser.add_argument(
        '--check',
        type=int,
        default=0,
        metavar='N',
        help="run N images of the config's test data through the detector and the file, and print the "
        'largest difference; exit code 1 if detections differ (but for --int8)',
    )
    parser.add_argument('--opset', type=int, default=OPSET, help='opset of ONNX (default: %(default)s)')
    parser.add_argument(
        '--exporter',
        choices=EXPORTERS,
        default=EXPORTERS[0],
        help="PyTorch's exporter (default: %(default)s)",
    )
    parser.add_argument(
        '--int8',
        type=int,
        default=0,
        metavar='N',
        help="quantise to int8, calibrated on N images of the config's val data; gates stay in float",
    )
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it exists')
    add_data_root_option(parser)
    add_trust_option(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.check < 0 or args.int8 < 0:
        parser.error('--check and --int8 are at least 0')
    if args.check and not args.out.endswith('.onnx'):
        parser.error('--check runs a file in ONNX Runtime: OUT has to be .onnx')
    return args


def main():
    args = parse_args()
    with brief_log():
        cfg, graph = export_file(
            args.config,
            args.checkpoint,
            args.out,
            normalize=not args.normalized_input,
            opset=args.opset,
            exporter=args.exporter,
            int8=args.int8,
            overwrite=args.overwrite,
            data_root=args.data_root,
            cfg_options=args.cfg_options,
            trust_checkpoint=args.trust_checkpoint,
            parts=('test',) if args.check else (),
        )
    print(f'wrote {args.out}')
    if args.check:
        with brief_log():
            agreement = check_file(args.out, cfg, graph, args.check)
        print(agreement)
        if agreement.share < 1 and not args.int8:
            sys.exit(1)


if __name__ == '__main__':
    run_tool(main)
