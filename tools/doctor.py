"""Say what works here, and for each problem the command that mends it.

    python tools/doctor.py            # a table; exit code 1 when something needed is missing
    python tools/doctor.py --json     # the same for programs

Runs with nothing but Python: whatever is missing is a line of the table, not a traceback.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OK, WARN, FAIL, SKIP = 'ok', 'warn', 'FAIL', '-'

# Import name -> distributions that provide it, the recommended one first. As in mmattn/_compat.py,
# and repeated because this must run where mmattn does not import.
PROVIDERS = {
    'torch': ('torch',),
    'mmengine': ('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'cv2': ('opencv-python', 'opencv-python-headless'),
    'pycocotools': ('pycocotools',),
    'mmattn': ('mmattn',),
}
FAMILIES = ('mmengine', 'mmcv', 'mmdet')
OLDEST_TORCH = '2.4'
# mmattn installed as a wheel carries this file, but neither the pins nor the builder of mmcv.
CHECKOUT = (ROOT / 'requirements').is_dir()


def asked(name):
    """A package as the installed mmattn asks for it, quoted for a shell; else just its name."""
    try:
        lines = requires('mmattn') or []
    except PackageNotFoundError:
        lines = []
    return next((f"'{line.partition(';')[0].strip()}'" for line in lines if line.startswith(name)), name)


def remedies(checkout):
    """What to run when something is missing; each can be pasted as it is into a shell."""
    if not checkout:
        mmengine, mmcv, mmdet = map(asked, ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection'))
        # In an isolated build there is no PyTorch, and mmcv comes without ops and without a word.
        build = (
            'pip install setuptools wheel ninja packaging && '
            'pip install --no-build-isolation --no-cache-dir --no-binary onedl-mmcv'
        )
        return {
            'python': 'make an environment with Python 3.10 or later',
            'torch': f'pip install {asked("torch")}   '
            "# PyTorch's install selector names the build for your GPU",
            'mmengine': f'pip install {mmengine}',
            'mmcv': f'{build} {mmcv}   # compiles its ops',
            'ops': f'{build} --no-deps --force-reinstall {mmcv}   # compiles its ops',
            'mmdet': f'pip install {mmdet}',
            'cv2': 'pip install --no-deps --force-reinstall opencv-python-headless   # needs no libGL',
            'pycocotools': 'pip install pycocotools',
            'mmattn': 'pip install mmattn',
            'detector': f'{build} {mmengine} {mmcv} {mmdet}   # the versions above do not fit together',
        }
    pip = 'pip install -c requirements/constraints.txt'
    torch = next(
        line
        for line in (ROOT / 'requirements/torch.txt').read_text().splitlines()
        if line.startswith('torch')
    )
    return {
        'python': 'make setup PYTHON=python3.11',
        'torch': f"pip install '{torch}'   # PyTorch's install selector names the build for your GPU",
        'mmengine': f'{pip} onedl-mmengine',
        'mmcv': 'python tools/dev/build_mmcv.py',
        'ops': 'python tools/dev/build_mmcv.py --force',
        'mmdet': f'{pip} onedl-mmdetection',
        'cv2': f'{pip} --no-deps --force-reinstall opencv-python-headless   # needs no libGL',
        'pycocotools': f'{pip} pycocotools',
        'mmattn': 'pip install --no-deps --no-build-isolation -e .',
        'detector': f'{pip} -r requirements/onedl.txt   '
        '# or make setup: the versions above do not fit together',
    }


FIX = remedies(CHECKOUT)

# Each probe runs in an interpreter of its own: one that crashes or hangs is a line of the table.
PROBES = {
    'torch': """
import torch
report['devices'] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
report['threads'] = torch.get_num_threads()
report['built_for_cuda'] = torch.version.cuda
""",
    'cv2': """
import cv2
""",
    'ops': """
import torch
from mmcv.ops import nms, roi_align
device = 'cuda' if torch.cuda.is_available() else 'cpu'
boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.], [20., 20., 29., 29.]], device=device)
kept = nms(boxes, torch.tensor([.9, .8, .7], device=device), 0.5)[1].tolist()
assert kept == [0, 2], f'nms kept {kept}, expected [0, 2]'
x = torch.ones(1, 1, 32, 32, device=device, requires_grad=True)
rois = torch.tensor([[0., 0., 0., 9., 9.]], device=device)
roi_align(x, rois, (2, 2)).sum().backward()
assert x.grad.abs().sum() > 0
report['device'] = device
""",
    'attention': """
import torch
from mmattn.blocks import CBAM
from mmattn.ops.dispatch import backend_for, missing_reason
device = 'cuda' if torch.cuda.is_available() else 'cpu'
x = torch.rand(2, 64, 25, 42, device=device, requires_grad=True)
CBAM(64).to(device)(x).sum().backward()
report['by'] = backend_for(x)
report['device'] = device
report['missing'] = missing_reason('triton' if device == 'cuda' else 'cpu')
""",
    'detector': """
import logging, time, torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.structures import InstanceData
logging.disable(logging.WARNING)
register_all_modules(init_default_scope=True)
head = dict(type='DeltaXYWHBBoxCoder', target_means=[0.] * 4, target_stds=[.1, .1, .2, .2])
assigner = dict(type='MaxIoUAssigner', pos_iou_thr=.5, neg_iou_thr=.5, min_pos_iou=0.)
sampler = dict(type='RandomSampler', num=16, pos_fraction=.5)
detector = dict(
    type='FasterRCNN',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[127.] * 3, std=[64.] * 3),
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_eval=False),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5),
    rpn_head=dict(type='RPNHead', in_channels=16, feat_channels=16, bbox_coder=head,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[.5, 1., 2.],
                              strides=[4, 8, 16, 32, 64])),
    roi_head=dict(type='StandardRoIHead',
        bbox_roi_extractor=dict(type='SingleRoIExtractor', out_channels=16,
            featmap_strides=[4, 8, 16, 32], roi_layer=dict(type='RoIAlign', output_size=7)),
        bbox_head=dict(type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=32, num_classes=2,
                       bbox_coder=head)),
    train_cfg=dict(
        rpn=dict(assigner=assigner, sampler=sampler, allowed_border=-1, pos_weight=-1, debug=False),
        rpn_proposal=dict(nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=.7)),
        rcnn=dict(assigner=assigner, sampler=sampler, pos_weight=-1, debug=False)),
    test_cfg=dict(
        rpn=dict(nms_pre=100, max_per_img=50, nms=dict(type='nms', iou_threshold=.7)),
        rcnn=dict(score_thr=0., nms=dict(type='nms', iou_threshold=.5), max_per_img=10)))
insert = [dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM')),
          dict(at='neck.fpn_convs.*', block=dict(type='mmattn.ECA'))]
with_attention = {**detector, 'type': 'mmattn.WithAttention', 'detector': 'FasterRCNN', 'insert': insert}
device = 'cuda' if torch.cuda.is_available() else 'cpu'
meta = dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64),
            batch_input_shape=(64, 64), scale_factor=(1., 1.))
def run(config):
    began = time.perf_counter()
    model = MODELS.build(Config(dict(model=config)).model).to(device)
    sample = DetDataSample(metainfo=meta)
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[8., 8., 40., 40.]]),
                                       labels=torch.tensor([1]))
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    data = dict(inputs=[image], data_samples=[sample])
    model.train()
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    model.parse_losses(losses)[0].backward()
    # Any one head may see no box; the backbone's last stage always gets a gradient.
    assert model.backbone.layer4[-1].conv2.weight.grad.abs().sum() > 0, 'no gradient'
    model.eval()
    with torch.no_grad():
        model.test_step(data)
    return round(time.perf_counter() - began, 1)
for name, config in (('plain', detector), ('with_attention', with_attention)):
    try:
        report[name] = run(config)
    except Exception as error:
        report[name] = f'{type(error).__name__}: {error}'
report['device'] = device
""",
}


def probe(name):
    """Run one probe; returns its report, with the key 'error' when it failed."""
    code = (
        'import json, warnings; warnings.simplefilter("ignore"); report = {}\n'
        + PROBES[name]
        + '\nprint("REPORT" + json.dumps(report))'
    )
    env = dict(os.environ)
    if (ROOT / 'mmattn').is_dir():  # a checkout, installed or not
        env['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), env.get('PYTHONPATH')]))
    try:
        done = subprocess.run(
            [sys.executable, '-c', code],
            env=env,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    except subprocess.TimeoutExpired:
        return {'error': 'did not end within 5 minutes'}
    for line in done.stdout.splitlines():
        if line.startswith('REPORT'):
            return json.loads(line[len('REPORT') :])
    if done.returncode < 0:
        return {'error': f'crashed with signal {-done.returncode}'}
    last = [line for line in done.stderr.splitlines() if line.strip()] or ['no output']
    if done.returncode == 0:
        return {'error': f'ended without a result; the last it said: {last[-1]}'}
    return {'error': last[-1]}


def distributions(module):
    found = {}
    for name in PROVIDERS[module]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def importable(module):
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


class Report:
    def __init__(self):
        self.rows = []

    def add(self, what, found, verdict=OK, fix=None):
        self.rows.append({'what': what, 'found': found, 'verdict': verdict, 'fix': fix})

    def probe(self, what, name, describe, fix):
        """Add the row of a probe; returns its report, or None when it failed."""
        result = probe(name)
        if 'error' in result:
            self.add(what, result['error'], FAIL, fix)
            return None
        self.add(what, describe(result))
        return result


def check_python(report):
    text = f'{platform.python_version()} ({sys.executable})'
    if sys.version_info < (3, 10):  # noqa: UP036, this runs on any
        report.add('python', text + ': 3.10 or later is needed', FAIL, FIX['python'])
    else:
        report.add('python', text)


def check_packages(report):
    """Versions, what is missing, and families that overwrite each other."""
    present = set()
    for module in PROVIDERS:
        found = distributions(module)
        text = ', '.join(f'{name} {number}' for name, number in found.items())
        if module == 'mmattn' and not found and (ROOT / 'mmattn').is_dir():
            report.add(module, f'not installed; used from {ROOT}')
            present.add(module)
        elif not importable(module):
            broken = f'{text} is installed, but cannot be imported' if text else 'not installed'
            report.add(module, broken, FAIL, FIX[module])
        else:
            present.add(module)
            if module in FAMILIES and len(found) > 1:
                keep = next(iter(found))
                report.add(
                    module,
                    f"{text}: both installed, they overwrite each other's files",
                    FAIL,
                    f'pip uninstall -y {" ".join(found)} && '
                    + (FIX[module] if keep.startswith('onedl') else f'pip install {keep}=={found[keep]}'),
                )
            elif 'torch' in found and too_old(found['torch']):
                report.add(module, f'{text}: {OLDEST_TORCH} or later is needed', FAIL, FIX[module])
            else:
                report.add(module, text or 'version unknown (not installed by pip)')
    return present


def too_old(torch):
    found, oldest = (tuple(map(int, text.split('.')[:2])) for text in (torch, OLDEST_TORCH))
    return found < oldest


def check_machine(report, result):
    """Devices and threads, as PyTorch sees them."""
    if result['devices']:
        report.add('device', ', '.join(result['devices']))
    elif result['built_for_cuda']:
        report.add(
            'device',
            f'CPU only (PyTorch is built for CUDA {result["built_for_cuda"]}, but finds no GPU)',
            WARN,
            'nvidia-smi   # if there is one: shows whether its driver works',
        )
    else:
        report.add('device', 'CPU only')
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0.0
    text = (
        f'{result["threads"]} for PyTorch (OMP_NUM_THREADS='
        f'{os.environ.get("OMP_NUM_THREADS", "not set")}), {cpus} processors, load {load:.1f}'
    )
    if result['threads'] > 1 and not result['devices'] and load > cpus / 2:
        report.add(
            'threads',
            text + ': threads that wait for each other on a busy machine are slower than one',
            WARN,
            'export OMP_NUM_THREADS=1',
        )
    else:
        report.add('threads', text)


def check_attention(report):
    """Whether attention is computed in the fast way of this machine (docs/speed.md)."""
    result = probe('attention')
    if 'error' in result:
        report.add('fast attention', result['error'], FAIL, FIX['mmattn'])
    elif result['missing']:
        fix = (
            'pip install triton   # the version that your PyTorch names'
            if result['device'] == 'cuda'
            else 'apt-get install gcc   # or another C compiler, named by the variable CC'
        )
        report.add('fast attention', f'no, by {result["by"]}: {result["missing"]}', WARN, fix)
    else:
        report.add('fast attention', f'by {result["by"]}, run on {result["device"]}')


def check_detectors(report, possible):
    """A small Faster R-CNN as mmdet has it, and the same with attention inserted."""
    result = probe('detector') if possible else None
    for what, name in (('a detector', 'plain'), ('with attention', 'with_attention')):
        if result is None:
            report.add(what, 'not tried: something above is missing', SKIP)
            continue
        seconds = result.get(name, result.get('error'))
        if isinstance(seconds, float):
            report.add(what, f'forward, backward, detections on {result["device"]} in {seconds} s')
        else:
            report.add(what, seconds, FAIL, FIX['detector'])


def examine():
    report = Report()
    check_python(report)
    present = check_packages(report)
    torch = None
    if 'torch' in present:
        torch = report.probe('PyTorch runs', 'torch', lambda found: 'yes', FIX['torch'])
        if torch:
            check_machine(report, torch)
    if 'cv2' in present:
        report.probe('OpenCV runs', 'cv2', lambda found: 'yes', FIX['cv2'])
    ops = False
    if torch and {'mmengine', 'mmcv'} <= present:
        ops = report.probe(
            "mmcv's ops", 'ops', lambda found: f'compiled, run on {found["device"]}', FIX['ops']
        )
    else:
        report.add("mmcv's ops", 'not tried: something above is missing', SKIP)
    if torch and {'mmengine', 'mmattn'} <= present:
        check_attention(report)
    check_detectors(report, ops and {'mmdet', 'mmattn'} <= present)
    return report


def table(report):
    width = max(len(row['what']) for row in report.rows)
    lines = [f'{row["verdict"]:4}  {row["what"]:{width}}  {row["found"]}' for row in report.rows]
    problems = [row for row in report.rows if row['fix']]
    if problems:
        where = f', in {ROOT}' if CHECKOUT else ''
        lines += ['', f'What to do{where}, with the environment of {sys.executable} active:']
        # The same remedy for several lines is said once.
        same = {}
        for row in problems:
            same.setdefault(row['fix'], []).append(row['what'])
        lines += [f'  {", ".join(names)}: {fix}' for fix, names in same.items()]
    failed = sum(row['verdict'] == FAIL for row in report.rows)
    if failed:
        lines += ['', f'{failed} problem{"s" * (failed > 1)}: something needed is missing.']
    else:
        lines += ['', 'Everything needed is here and works.']
    return '\n'.join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    args = parser.parse_args()
    report = examine()
    print(json.dumps(report.rows, indent=1) if args.json else table(report))
    sys.exit(any(row['verdict'] == FAIL for row in report.rows))


if __name__ == '__main__':
    main()
