"""Every config builds the model of its name and costs what its header says."""

import re
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.hub import get_config
from torch import nn

from mmattn import blocks
from mmattn.cost import config_row, list_configs
from mmattn.engine.config_model import build_model
from tests.codebases import codebase

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'
OURS = list_configs(CONFIGS)
# Keys are the parts of config names between backbone and neck.
BLOCKS = dict(
    se=blocks.SE,
    cbam=blocks.CBAM,
    eca=blocks.ECA,
    ese=blocks.ESE,
    gct=blocks.GCT,
    simam=blocks.SimAM,
    sge=blocks.SGE,
    scse=blocks.SCSE,
    coord=blocks.CoordAttention,
    triplet=blocks.TripletAttention,
    ema=blocks.EMA,
    bam=blocks.BAM,
    gc=blocks.GlobalContext,
    nl=blocks.NonLocal,
    temporal=blocks.TemporalAttention,
)
BLOCKS.update(
    {
        'cbam-sp-ch': blocks.Compose,
        'cbam-parallel': blocks.Compose,
        'cbam-avg': blocks.Compose,
        'cbam-max': blocks.Compose,
        'cbam-conv-k7': blocks.Compose,
        'cbam-k3': blocks.CBAM,
        'channel-attention': blocks.ChannelAttention,
        'spatial-attention': blocks.SpatialAttention,
    }
)
MODELS = {
    'ld/': 'KnowledgeDistillationSingleStageDetector',
    'gfl_': 'GFL',
    'faster-rcnn': 'FasterRCNN',
    'retinanet': 'RetinaNet',
    'mask2former': 'Mask2FormerVideo',
    'pretrain/': 'ImageClassifier',
}
# The other configs take a minute or two and run with the slow tests.
QUICK = [
    path
    for path in OURS
    if re.search(
        r'_r18-\w+_fpn_1x|_r18-(?!se|cbam|eca).+_folder|^shapes/|^ld/|retinanet_r50_fpn-(lateral-)?cbam|'
        'r50-cbam-parallel|retinanet_sknet|temporal|mobilenet-v2-cbam|resnet18|faster-rcnn_r18-cbam-in1k',
        path,
    )
]
SLOW = [pytest.param(path, marks=pytest.mark.slow) for path in OURS if path not in QUICK]

MOBILENET = {3: 3, 4: 4, 5: 3, 6: 3}
RESIDUALS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def expected_block(path):
    """Return the block in a config's name."""
    student = re.sub('-gflv1-.*', '_', path)  # and not the teacher
    found = re.search(rf'-({"|".join(sorted(BLOCKS, key=len, reverse=True))})(-c3-c5|-in1k)?_', student)
    return found and found.group(1)


def expected_sites(path):
    """Return the names of the sites that a config's name stands for."""
    block = expected_block(path)
    if block is None:
        return set()
    retina = 'retinanet' in path
    if f'_fpn-lateral-{block}_' in path:
        return {f'neck.lateral_convs.{i}' for i in range(3 if retina else 4)}
    if f'_fpn-{block}_' in path:
        return {f'neck.fpn_convs.{i}' for i in range(5 if retina else 4)}
    if 'mobilenet-v2' in path:  # where the input is added, in the stages that train
        return {f'backbone.layer{stage}.{i}.residual' for stage, n in MOBILENET.items() for i in range(1, n)}
    depth = int(
        re.search(rf'_r(?:esnet)?(\d+)-{block}(-c3-c5|-in1k|-gflv1.*)?_', f'_{Path(path).stem}').group(1)
    )
    ends = {
        f'backbone.layer{stage}.{i}.residual'
        for stage, blocks_in_stage in enumerate(RESIDUALS[depth], 1)
        for i in range(blocks_in_stage)
    }
    if block == 'bam':  # before each downsampling stage
        return {f'backbone.layer{stage}' for stage in (1, 2, 3)}
    if block == 'nl':  # before the last block of stage 3
        return {f'backbone.layer3.{RESIDUALS[depth][2] - 2}'}
    first = dict(gc=2, temporal=3).get(block, 1)
    return {name for name in ends if int(name[len('backbone.layer')]) >= first}


def test_no_config_is_taken_for_a_lazy_one(monkeypatch):
    """By MMEngine's rule, wherever Python's own modules lie: 0.10.7 does not know importlib as one."""
    monkeypatch.setattr('mmengine.config.config._is_builtin_module', lambda name: False)
    assert not [str(path) for path in CONFIGS.rglob('*.py') if Config._is_lazy_import(str(path))]


@pytest.mark.parametrize('path', [*QUICK, *SLOW])
def test_config_builds_what_name_and_header_say(path):
    if path.startswith('pretrain/'):
        codebase('mmpretrain')
    model = build_model(str(CONFIGS / path))
    header = [line for line in (CONFIGS / path).read_text().splitlines() if line.startswith('#')]
    assert any(f'configs/{path}' in line.split() for line in header), header
    assert f'# {config_row(model, path).header()}' in header
    kept = next(name for key, name in MODELS.items() if key in path)
    assert any(cls.__name__ == kept for cls in type(model).__mro__)
    expected = expected_sites(path)
    if not expected:
        assert not hasattr(model, 'attention')
        return
    assert {site.name for site in model.attention.claims} == expected
    for block in model.attention.values():
        assert type(block) is BLOCKS[expected_block(path)]
        # What was pretrained with attention starts as in pretraining.
        assert block.start == ('paper' if 'in1k' in path else 'identity') or block.paper_is_identity


@pytest.mark.parametrize('path', [path for path in OURS if '-in1k_' in path])
def test_detectors_begin_with_what_pretraining_leaves(path, monkeypatch):
    codebase('mmpretrain')
    monkeypatch.delenv('MMATTN_PRETRAINED', raising=False)
    cfg = Config.fromfile(CONFIGS / path)
    name = cfg.weights_made_by.removeprefix('python tools/train.py configs/pretrain/').removesuffix('.py')
    pretraining = Config.fromfile(CONFIGS / f'pretrain/{name}.py')
    assert cfg.model.insert == pretraining.model.insert
    assert cfg.model.backbone.depth == pretraining.model.backbone.depth
    assert cfg.model.backbone.init_cfg == dict(
        type='Pretrained',
        checkpoint=f'work_dirs/{name}/epoch_{pretraining.train_cfg.max_epochs}.pth',
        prefix='backbone.',
    )


def test_sknet_50_is_that_of_the_paper():
    """27.5 M parameters and 4.47 GFLOPs at 224x224, with the classifier of ImageNet."""
    import torch

    from mmattn.cost import CountOps

    path = str(CONFIGS / 'sknet/retinanet_sknet50_fpn_1x_coco.py')
    for start in ('paper', 'identity'):
        backbone = build_model(path, {'model.backbone.dcn.start': start}).backbone
        head = nn.Linear(2048, 1000)
        parameters = sum(p.numel() for module in (backbone, head) for p in module.parameters())
        assert round(parameters / 1e6, 1) == 27.5
        backbone.eval()
        image = torch.rand(1, 3, 224, 224)
        with torch.no_grad(), CountOps(backbone) as counting:
            backbone(image)
        # Multiply-adds and the elements that poolings read; without poolings it is 4.46.
        ops = counting.count.total(['convolution', 'linear', 'pooling']) + head.weight.numel()
        assert round(ops / 1e9, 2) == 4.47 and not counting.count.not_counted


@pytest.mark.parametrize(
    'path',
    [
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py',
        'retinanet/retinanet_r18_fpn_1x_coco.py',
        'retinanet/retinanet_r50_fpn_1x_coco.py',
        'retinanet/retinanet_r101_fpn_1x_coco.py',
    ],
)
def test_plain_configs_are_those_of_mmdet(path):
    """The baseline differs from mmdet's in the data root, the image loader and the printed metrics."""
    from mmengine.config import Config

    ours, theirs = (_plain(cfg) for cfg in (Config.fromfile(CONFIGS / path), get_config(f'mmdet::{path}')))
    for cfg in (ours, theirs):
        for part in ('val', 'test'):
            cfg[f'{part}_evaluator'].pop('proposal_nums', None)
        # These variables have no effect once the data sets are defined.
        for key in [key for key in cfg if key.endswith('pipeline')] + ['data_root']:
            cfg.pop(key)
    assert ours['train_dataloader']['dataset']['pipeline'].pop(0) == dict(type='mmattn.LoadImageFromFile')
    assert theirs['train_dataloader']['dataset']['pipeline'].pop(0) == dict(
        type='LoadImageFromFile', backend_args=None
    )
    if 'r18' in path:  # inherited by ours, absent from mmdet's
        assert ours.pop('tta_model') and ours.pop('img_scales')
    assert ours == theirs


def _plain(node):
    """Return plain dicts without the `_scope_` keys that MMEngine adds to other packages' base files."""
    if isinstance(node, (list, tuple)):
        return [_plain(child) for child in node]
    if hasattr(node, 'items'):
        return {key: _plain(child) for key, child in node.items() if key != '_scope_'}
    return node


@pytest.mark.parametrize('path', [path for path in OURS if 'finetune' in path])
def test_finetuning_starts_from_the_released_detector(path):
    from mmengine.config import Config

    cfg = Config.fromfile(CONFIGS / path)
    name = 'retinanet' if 'retinanet' in path else 'faster-rcnn'
    released = get_config(f'mmdet::{name.replace("-", "_")}/{name}_r50_fpn_1x_coco.py', pretrained=True)
    assert cfg.load_from == released.model_path
    assert cfg.model.backbone.init_cfg is None
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(released.optim_wrapper.optimizer.lr / 10)
    assert cfg.train_cfg.max_epochs == 4


def test_attention_learns_at_the_full_rate_when_finetuning():
    from mmengine.config import Config
    from mmengine.optim import build_optim_wrapper

    cfg = Config.fromfile(CONFIGS / 'cbam/retinanet_r50-cbam_fpn_finetune_coco.py')
    model = build_model(cfg.filename)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    rates = {id(p): round(group['lr'], 9) for group in optimizer.param_groups for p in group['params']}
    new = {id(p) for p in model.attention.parameters()}
    assert {rate for p, rate in rates.items() if p in new} == {0.01}
    assert {rate for p, rate in rates.items() if p not in new} == {0.001}


@pytest.mark.parametrize('folder', sorted({path.split('/')[0] for path in OURS} - {'shapes'}))
def test_metafiles_list_all_configs(folder):
    listed = yaml.safe_load((CONFIGS / folder / 'metafile.yml').read_text())['Models']
    assert sorted(model['Config'] for model in listed) == [
        f'configs/{path}' for path in OURS if path.startswith(f'{folder}/')
    ]


def test_folder_config_reads_classes(tmp_path, monkeypatch):
    import json

    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'train.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='a.jpg')],
                annotations=[],
                categories=[dict(id=7, name='nut'), dict(id=3, name='bolt')],
            )
        )
    )
    for root in (str(tmp_path), f'{tmp_path}/'):
        monkeypatch.setenv('MMATTN_DATA_ROOT', root)
        model = build_model(str(CONFIGS / 'se/faster-rcnn_r18-se_fpn_folder.py'))
        head = model.roi_head.bbox_head
        assert head.num_classes == 2
        assert isinstance(head.fc_cls, nn.Linear) and head.fc_cls.out_features == 3


def test_documented_costs_are_those_of_the_headers():
    table = (ROOT / 'docs' / 'configs.md').read_text()
    for path in OURS:
        row = re.search(rf'^\| `{re.escape(path)}` \| (.+) \| (.+) \| (.+) \| (\d+) \|$', table, re.M)
        parameters, trained, attention, sites = row.groups()
        cost = f'{parameters} parameters, {trained} of them trained'
        if sites != '0':
            cost += f'; attention: {attention} at {sites} site{"s" if sites != "1" else ""}'
        assert f'{cost}.\n' in (CONFIGS / path).read_text(), path
