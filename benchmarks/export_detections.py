#!/usr/bin/env python
"""Measure detections, AP and time of exported detectors, and write the tables of docs/export.md.

    python benchmarks/export_detections.py agreement NAME CONFIG CHECKPOINT DATA_ROOT
    python benchmarks/export_detections.py latency NAME CONFIG CHECKPOINT DATA_ROOT
    python benchmarks/export_detections.py openvino NAME CONFIG CHECKPOINT DATA_ROOT
    python benchmarks/export_detections.py untrained mmdet::retinanet/retinanet_r18_fpn_1x_coco.py ...
    python benchmarks/export_detections.py page

Each part adds to the results of the detector NAME. ``latency`` needs an idle machine: PyTorch, the file, and
the file in int8 take each image by turns.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import describe
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from pages import with_text, write_page
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmattn.engine import load_config
from mmattn.engine.config_images import images
from mmattn.engine.trained import trained_detector
from mmattn.export import Agreement, ExportedDetector, detector_graph, onnx_bytes
from mmattn.export.quantize import quantized
from mmattn.export.whole_detector import calibration_images, gate_names
from mmattn.files import write_file
from mmattn.insertion import brief_log

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results/export_detections.json'
PAGE = ROOT / 'docs/export.md'
EXPORTS = [('torchscript', 11), ('torchscript', 16), ('torchscript', 18), ('torchscript', 20), ('dynamo', 18)]
FILES = ('onnx', 'int8', 'int8_gates')
CALIBRATION = 32
PAUSE = 0.05
"""Seconds before each timed image: the threads of ONNX Runtime go on spinning after their work."""
FEW = 10
"""Images on which each exporter and opset is compared."""


class Detector:
    """A trained detector, and the files that are made of it."""

    def __init__(self, config, checkpoint, data_root, folder):
        self.cfg, self.model = trained_detector(config, checkpoint, data_root)
        self.graph = detector_graph(self.model)
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def file(self, name):
        """Return the model of a file, which is made if it is not there."""
        path = self.folder / f'{name}.onnx'
        if not path.exists():
            content = onnx_bytes(self.graph, self.cfg)
            if name != 'onnx':
                in_float = gate_names(self.graph) if name == 'int8' else []
                content = quantized(content, calibration_images(self.graph, self.cfg, CALIBRATION), in_float)
            write_file(path, content)
        return ExportedDetector(str(path), torch.get_num_threads())


def predict(model, batch):
    """Return the detections of one image."""
    sample = model.test_step(dict(batch, data_samples=[batch['data_samples'][0].clone()]))[0]
    return sample.pred_instances


def ap(cfg, results):
    """Return COCO's AP of ``(image id, detections)``, not rounded as MMDetection's metric has it."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(cfg.test_evaluator.ann_file)
        classes = cfg.test_dataloader.dataset.metainfo.classes
        ids = {each['name']: each['id'] for each in truth.dataset['categories']}
        rows = [
            dict(
                image_id=number,
                category_id=ids[classes[int(label)]],
                bbox=[*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                score=float(score),
            )
            for number, found in results
            for box, score, label in zip(found.bboxes, found.scores, found.labels)
        ]
        evaluation = COCOeval(truth, truth.loadRes(rows), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


@torch.no_grad()
def agreement(detector):
    """Compare all images, and AP; a few by each exporter and opset."""
    models = dict(torch=detector.model, **{name: detector.file(name) for name in FILES})
    results, found = {name: [] for name in models}, Agreement()
    for batch in images(detector.cfg):
        number = batch['data_samples'][0].img_id
        for name, model in models.items():
            results[name].append((number, predict(model, batch)))
        found.add(results['torch'][-1][1], results['onnx'][-1][1])
    return dict(
        images=found.images,
        detections=[found.detections, found.others],
        matched=found.matched,
        share=found.share,
        corner=found.corner,
        score=found.score,
        unmatched=found.unmatched,
        ap={name: ap(detector.cfg, rows) for name, rows in results.items()},
        megabytes={name: (detector.folder / f'{name}.onnx').stat().st_size / 1e6 for name in FILES},
        exports=[export(detector, *each) for each in EXPORTS],
    )


def export(detector, exporter, opset):
    """Export in one way, and compare a few images; say why not if it is not possible."""
    row = dict(exporter=exporter, opset=opset)
    try:
        content = onnx_bytes(detector.graph, detector.cfg, opset, exporter)
    except ValueError as error:
        return dict(row, refused=str(error))
    path = detector.folder / f'{exporter}_{opset}.onnx'
    write_file(path, content)
    model, found = ExportedDetector(str(path)), Agreement()
    for batch in images(detector.cfg, FEW):
        found.add(predict(detector.model, batch), predict(model, batch))
    return dict(row, images=found.images, share=found.share, corner=found.corner, score=found.score)


@torch.no_grad()
def latency(detector, count=40):
    """Time one image after the other, by each model in turn."""
    models = dict(torch=detector.model, **{name: detector.file(name) for name in FILES})
    batches = list(images(detector.cfg, count))
    for model in models.values():
        predict(model, batches[0])
    seconds = {name: [] for name in models}
    for batch in batches:
        for name, model in models.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            predict(model, batch)
            seconds[name].append(time.perf_counter() - start)
    return dict(
        latency={name: 1000 * statistics.median(each) for name, each in seconds.items()},
        latency_ratio={
            name: statistics.median(b / a for a, b in zip(seconds['torch'], each))
            for name, each in seconds.items()
        },
        latency_images=len(batches),
        latency_size=list(batches[0]['inputs'][0].shape[1:]),
        latency_threads=torch.get_num_threads(),
    )


@torch.no_grad()
def openvino(detector):
    """Compare the same file in OpenVINO with PyTorch."""
    import openvino

    detector.file('onnx')
    session = openvino.Core().compile_model(
        str(detector.folder / 'onnx.onnx'), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'}
    )
    model, found = detector.file('onnx'), Agreement()
    for batch in images(detector.cfg):
        image = batch['inputs'][0].numpy()
        dets, labels = (np.asarray(each) for each in session(model.prepared(image)).values())
        kept = labels[0] >= 0
        scale = np.float32([*batch['data_samples'][0].scale_factor] * 2)
        other = InstanceData(
            bboxes=torch.from_numpy(dets[0][kept, :4] / scale),
            scores=torch.from_numpy(dets[0][kept, 4]),
            labels=torch.from_numpy(labels[0][kept].astype(np.int64)),
        )
        found.add(predict(detector.model, batch), other)
    return dict(
        openvino=dict(
            version=openvino.__version__.partition('-')[0],
            images=found.images,
            share=found.share,
            corner=found.corner,
            score=found.score,
        )
    )


@torch.no_grad()
def untrained(configs):
    """Compare detectors of MMDetection with random weights on noise: many boxes of nearly the same score."""
    rows = {}
    for config in configs:
        cfg = load_config(config)
        cfg.model.init_cfg = cfg.model.backbone.init_cfg = None
        if 'rcnn' in cfg.model.test_cfg:
            cfg.model.test_cfg.rcnn.score_thr = 0.0
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(cfg.model).eval()
        graph, found = detector_graph(model), Agreement()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'a.onnx')
            path.write_bytes(onnx_bytes(graph, cfg))
            exported = ExportedDetector(str(path))
            for height, width in ((256, 320), (320, 192)):
                image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
                sample = DetDataSample(
                    metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1, 1))
                )
                batch = dict(inputs=[image], data_samples=[sample])
                found.add(predict(model, batch), predict(exported, batch))
        rows[config] = dict(
            detections=found.detections, share=found.share, corner=found.corner, score=found.score
        )
        print(config, rows[config], flush=True)
    return rows


PARTS = dict(agreement=agreement, latency=latency, openvino=openvino)
NAMES = dict(
    torch='MMDetection', onnx='ONNX Runtime', int8='int8, gates in float', int8_gates='int8, gates too'
)


def page(results):
    """Return docs/export.md with its tables."""
    found = results['detectors']
    text = PAGE.read_text(encoding='utf-8')
    tables = dict(
        same=_same(found),
        exports=_exports(found),
        untrained=_untrained(results['untrained']),
        speed=_speed(found),
    )
    for name, lines in tables.items():
        begin = f'<!-- benchmarks/export_detections.py: {name} -->'
        text = with_text(text, begin, f'<!-- end of {name} -->', '\n'.join(lines))
    return text


def _same(found):
    yield (
        '| detector | images | detections | the same | largest difference | AP, MMDetection | AP, file '
        '| OpenVINO |'
    )
    yield '|---|--:|--:|--:|---|--:|--:|---|'
    for name, each in found.items():
        other = each.get('openvino')
        other = f'{other["share"]:.2%}, {other["corner"]:.1g} px' if other else 'not run'
        yield (
            f'| {name} | {each["images"]} | {each["detections"][0]:,} | {each["share"]:.2%} | '
            f'{each["corner"]:.1g} px, {each["score"]:.1g} in score | {100 * each["ap"]["torch"]:.3f} | '
            f'{100 * each["ap"]["onnx"]:.3f} | {other} |'
        )


def _exports(found):
    yield '| detector | exporter | opset | the same | largest difference |'
    yield '|---|---|--:|--:|---|'
    for name, each in found.items():
        for row in each['exports']:
            head = f'| {name} | {row["exporter"]} | {row["opset"]} |'
            if 'refused' in row:
                yield f'{head} refused | {row["refused"].partition(": ")[2]} |'
            else:
                yield f'{head} {row["share"]:.2%} | {row["corner"]:.1g} px, {row["score"]:.1g} in score |'


def _untrained(found):
    yield '| config | detections | the same | largest difference |'
    yield '|---|--:|--:|---|'
    for config, row in found.items():
        yield (
            f'| `{config}` | {row["detections"]} | {row["share"]:.2%} | {row["corner"]:.1g} px, '
            f'{row["score"]:.1g} in score |'
        )


def _speed(found):
    yield '| detector | image | threads | | AP | ms an image | against MMDetection | MB |'
    yield '|---|--:|--:|---|--:|--:|--:|--:|'
    for name, each in found.items():
        for way, said in NAMES.items():
            size = each['megabytes'].get(way)
            height, width = each['latency_size']
            yield (
                f'| {name} | {height}x{width} | {each["latency_threads"]} | {said} '
                f'| {100 * each["ap"][way]:.2f} | {each["latency"][way]:.1f} | '
                f'x{each["latency_ratio"][way]:.2f} | {f"{size:.1f}" if size else ""} |'
            )


def save(**parts):
    """Add what was measured to the results."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results['machine'] = describe()
    for part, rows in parts.items():
        for name, row in rows.items():
            results.setdefault(part, {}).setdefault(name, {}).update(row)
    write_file(RESULTS, json.dumps(results, indent=1) + '\n')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('part', choices=[*PARTS, 'untrained', 'page'])
    parser.add_argument('detector', nargs='*', help='NAME CONFIG CHECKPOINT DATA_ROOT, or configs')
    parser.add_argument('--work-dir', default='work_dirs/export_detections', help='folder for the files')
    args = parser.parse_args()
    if args.part == 'page':
        write_page(PAGE, page(json.loads(RESULTS.read_text())))
        return
    if args.part == 'untrained':
        save(untrained=untrained(args.detector))
        return
    name, config, checkpoint, data_root = args.detector
    with brief_log():
        detector = Detector(config, checkpoint, data_root, Path(args.work_dir, name.replace(' ', '_')))
        measured = PARTS[args.part](detector)
    save(detectors={name: measured})
    print(json.dumps(measured, indent=1)[:3000])


if __name__ == '__main__':
    main()
