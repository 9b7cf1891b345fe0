#!/usr/bin/env python
"""Show what the attention of a detector does on pictures: a sheet and arrays for each, and a page for all."""

import argparse
import os
import sys

import torch
from mmengine.config import DictAction

from mmattn.visualization import Inspector, evenly_spread, images_at, model_name, show_attention


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('pictures', nargs='?', metavar='IMAGE|FOLDER', help='a picture, or a folder of them')
    parser.add_argument(
        '--dataset',
        choices=['train', 'val', 'test'],
        help="pictures of the config's data set, in place of IMAGE|FOLDER",
    )
    parser.add_argument(
        '--data-root', help="folder of the data set (else MMATTN_DATA_ROOT, else the config's)"
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
        help='at most so many pictures, evenly spread; 0: all (default: %(default)s)',
    )
    parser.add_argument('--score-thr', type=float, default=0.3, help='of detections (default: %(default)s)')
    parser.add_argument(
        '--grad-cam',
        default='',
        metavar='LAYER',
        help='also Grad-CAM of the surest detections at this module, such as backbone.layer4 (needs captum)',
    )
    parser.add_argument('--cams', type=int, default=3, help='of how many detections (default: %(default)s)')
    parser.add_argument('--out-dir', help='folder for the result (default: work_dirs/CONFIG/show_attention)')
    parser.add_argument('--overwrite', action='store_true', help='replace an earlier result there')
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='where to run (default: %(default)s)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override settings of the configs: key=value'
    )
    args = parser.parse_args()
    if (args.pictures is None) == (args.dataset is None):
        parser.error('give IMAGE|FOLDER or --dataset, one of them')
    if args.limit < 0 or args.cams < 1:
        parser.error('--limit is at least 0, --cams at least 1')
    return args


def _text(error):
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)


def main():
    args = parse_args()
    chosen = [(args.config, args.checkpoint), *([args.compare] if args.compare else [])]
    names = [model_name(config) for config, _ in chosen]
    if len(set(names)) < len(names):
        names = [f'{name} ({checkpoint})' for name, (_, checkpoint) in zip(names, chosen)]
    if len(set(names)) < len(names):
        sys.exit('show_attention.py: --compare was given the first config and checkpoint again')
    out_dir = args.out_dir or os.path.join('work_dirs', model_name(args.config), 'show_attention')
    inspectors = {}
    for name, each in zip(names, chosen):
        try:
            inspectors[name] = Inspector(
                *each, args.data_root, args.cfg_options, args.device, args.score_thr, args.grad_cam, args.cams
            )
        except Exception as error:  # whatever a config may do wrong
            sys.exit(f'show_attention.py: {" and ".join(each)}: {type(error).__name__}: {_text(error)}')
    try:
        pictures = (
            next(iter(inspectors.values())).dataset_images(args.dataset)
            if args.dataset
            else images_at(args.pictures)
        )
        files = show_attention(
            inspectors, evenly_spread(pictures, args.limit), out_dir, args.sites, args.overwrite
        )
    except (ValueError, KeyError, OSError, ImportError) as error:
        sys.exit(f'show_attention.py: {_text(error)}')
    print(f'{len(files) // 2} of {len(pictures)} image(s): sheets, arrays, and {files[-1]}')


if __name__ == '__main__':
    main()
