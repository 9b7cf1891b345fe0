#!/usr/bin/env python
"""Detect with a file of tools/export.py. Needs onnxruntime, numpy and pillow: no PyTorch, no MMDetection.

python demo/onnx_inference.py detector.onnx image.jpg drawn.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw

SCORE = 0.3


def resized(image, transforms):
    """Resize and pad as the config's test pipeline does; return the image and its scale."""
    scale = (1, 1)
    for each in transforms:
        if each['type'].endswith('Resize') and 'scale' in each:
            width, height = each['scale']
            if each.get('keep_ratio'):  # the long side fits the larger number, the short side the smaller
                long, short = max(each['scale']), min(each['scale'])
                ratio = min(long / max(image.size), short / min(image.size))
                width, height = (int(side * ratio + 0.5) for side in image.size)
            scale = (width / image.width, height / image.height)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        elif each['type'].endswith('Pad') and 'size' in each:
            value = each.get('pad_val', 0)
            value = value.get('img', 0) if isinstance(value, dict) else value
            canvas = Image.new('RGB', tuple(each['size']), tuple(np.broadcast_to(value, 3)))
            canvas.paste(image)
            image = canvas
        else:
            raise SystemExit(f'this script cannot do {each}')
    return image, scale


def main(model, source, out):
    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    about = json.loads(session.get_modelmeta().custom_metadata_map['mmattn'])
    original = Image.open(source).convert('RGB')
    image, scale = resized(original, about['pipeline'])
    pixels, normalize = np.asarray(image, np.float32), about['normalize']
    if normalize['channels'] == 'bgr':
        pixels = pixels[..., ::-1]
    if not normalize['inside'] and normalize['mean']:
        pixels = (pixels - np.float32(normalize['mean'])) / np.float32(normalize['std'])
    image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    dets, labels = (each[0] for each in session.run(None, {'image': image}))

    draw = ImageDraw.Draw(original)
    for (*corners, score), label in zip(dets, labels):
        if score < SCORE:  # rows come by score; those without a detection are -1
            break
        box = [round(float(c) / scale[i % 2], 1) for i, c in enumerate(corners)]
        print(f'{about["classes"][label]} {score:.3f}', *box)
        draw.rectangle(box, outline='red', width=2)
        draw.text(box[:2], f'{about["classes"][label]} {score:.2f}', fill='red')
    original.save(out)


if __name__ == '__main__':
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
