#!/usr/bin/env python
"""Show what the attention of a detector does on images: a sheet and arrays for each, and a page for all."""

from mmattn.engine.cli import (
    Parser,
    add_cfg_options,
    add_data_root_option,
    add_device_option,
    add_trust_option,
    run_tool,
)
from mmattn.insertion import brief_log
from mmattn.visualization import show_detectors


def parse_args():
    parser = Parser(description=__doc__)
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('images', nargs='?', metavar='IMAGE|FOLDER', help='an image, or a folder of images')
    parser.add_argument(
        '--dataset',
        choices=['train', 'val', 'test'],
        help="images of the config's data set, in place of IMAGE|FOLDER",
    )
    parser.add_argument(
        '--compare', nargs=2, metavar=('CONFIG2', 'CHECKPOINT2'), help='another detector, beside the first'
    )
    parser.add_argument(
        '--sites', nargs='+', default=[], metavar='GLOB', help="only these, such as 'backbone.layer4.**'"
    )
    parser.add_argument(
        '--limit',
        type=int,
        default=8,
        help='show at most N images, evenly spread; 0: all (default: %(default)s)',
    )
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='least score of a detection (default: %(default)s)'
    )
    parser.add_argument(
        '--grad-cam',
        default='',
        metavar='LAYER',
        help='also Grad-CAM at this module, such as backbone.layer4, of the detections with the highest '
        'scores (needs captum)',
    )
    parser.add_argument(
        '--cams', type=int, default=3, help='number of detections with Grad-CAM (default: %(default)s)'
    )
    parser.add_argument('--out-dir', help='folder for the result (default: work_dirs/CONFIG/show_attention)')
    parser.add_argument('--overwrite', action='store_true', help='replace an earlier result there')
    add_data_root_option(parser)
    add_trust_option(parser)
    add_device_option(parser, 'run')
    add_cfg_options(parser, 'the configs')
    args = parser.parse_args()
    if (args.images is None) == (args.dataset is None):
        parser.error('give IMAGE|FOLDER or --dataset, one of them')
    if args.limit < 0 or args.cams < 1:
        parser.error('--limit is at least 0, --cams at least 1')
    return args


def main():
    args = parse_args()
    with brief_log():
        summary = show_detectors(
            [(args.config, args.checkpoint), *([args.compare] if args.compare else [])],
            args.images,
            args.dataset,
            args.out_dir,
            args.sites,
            args.limit,
            args.overwrite,
            data_root=args.data_root,
            cfg_options=args.cfg_options,
            device=args.device,
            score_thr=args.score_thr,
            cam_layer=args.grad_cam,
            num_cams=args.cams,
            trust_checkpoint=args.trust_checkpoint,
        )
    print(summary)


if __name__ == '__main__':
    run_tool(main)
