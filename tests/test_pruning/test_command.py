"""From a detector in files to a pruned one in files, which all tools take as any other."""

import json
import os
from pathlib import Path

import pytest
import torch

from mmattn.engine import load_config, train
from mmattn.engine import test as evaluate
from mmattn.engine.trained import trained_detector
from mmattn.export import check_file, export_file
from mmattn.insertion.widths import widths_of
from mmattn.pruning import CannotPrune, Target, prune_file
from mmattn.pruning.command import config_of

pytest.importorskip('torch_pruning')
TARGET = Target(ops=0.7, size=(96, 96))


@pytest.fixture(scope='module')
def trained(detectors, tmp_path_factory):
    """A detector with SE whose norms have statistics and whose gates differ, as after training."""
    from tests.test_pruning.models import randomize

    cfg, model = trained_detector(str(detectors / 'other.py'), str(detectors / 'other.pth'))
    torch.manual_seed(0)
    randomize(model)
    for parameter in model.attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    content = torch.load(detectors / 'other.pth')
    folder = tmp_path_factory.mktemp('trained')
    torch.save(content | dict(state_dict=model.state_dict()), folder / 'other.pth')
    return str(detectors / 'other.py'), str(folder / 'other.pth')


@pytest.fixture(scope='module')
def pruned(trained, tmp_path_factory):
    return prune_file(*trained, str(tmp_path_factory.mktemp('pruned') / 'out'), TARGET, rank='gates', count=4)


def test_the_files_are_a_detector_that_is_smaller(trained, pruned):
    cfg, model = trained_detector(pruned.config, pruned.checkpoint)
    before = trained_detector(*trained)[1]
    assert widths_of(model) == widths_of(pruned.pruning.model) != widths_of(before)
    assert pruned.after['operations'] <= 0.7 * pruned.before['operations']
    assert pruned.after['parameters'] == sum(p.numel() for p in model.parameters())
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        for found, expected in zip(model.extract_feat(images), pruned.pruning.model.extract_feat(images)):
            assert found.equal(expected)
    assert model.dataset_meta['classes'] == ('bright', 'dark')
    assert cfg.load_from == os.path.abspath(pruned.checkpoint) and not cfg.resume
    # Both were evaluated, on the same images.
    assert pruned.before.keys() == pruned.after.keys() >= {'coco/bbox_mAP', 'latency'}


def test_evaluation_of_the_files_is_that_of_the_record(pruned, tmp_path):
    found = evaluate(pruned.config, pruned.checkpoint, work_dir=str(tmp_path))
    assert {key: pruned.after[key] for key in found} == found
    folder = os.path.dirname(pruned.config)
    record = json.loads(Path(folder, 'pruning.json').read_text())
    assert record['after'] == pruned.after and record['rank'] == 'gates'
    assert [tuple(group['taken']) for group in record['groups']] == [
        taken for _, taken in pruned.pruning.groups
    ]
    assert any(group['ranked'] for group in record['groups'])


def test_it_is_trained_on_and_resumed(pruned, tmp_path):
    runner = train(pruned.config, str(tmp_path), cfg_options={'train_cfg.max_epochs': 1})
    assert widths_of(runner.model) == widths_of(pruned.pruning.model)
    options = {'train_cfg.max_epochs': 2}
    again = train(pruned.config, str(tmp_path), resume='auto', cfg_options=options)
    assert again.epoch == 2


def test_its_export_gives_the_same_detections(pruned, tmp_path):
    pytest.importorskip('onnxruntime')
    file = str(tmp_path / 'pruned.onnx')
    cfg, graph = export_file(pruned.config, pruned.checkpoint, file)
    agreement = check_file(file, cfg, graph, 4)
    assert agreement.detections > 0 and agreement.share == 1
    assert agreement.corner < 0.01 and agreement.score < 1e-4


def test_a_pruned_detector_is_pruned_again(pruned, tmp_path):
    out = str(tmp_path / 'again')
    again = prune_file(pruned.config, pruned.checkpoint, out, TARGET, rank='random', evaluate=False)
    assert again.after['operations'] <= 0.7 * pruned.after['operations']
    model = trained_detector(again.config, again.checkpoint)[1]
    assert widths_of(model) == widths_of(again.pruning.model)


def test_a_detector_without_attention_is_pruned_by_magnitude(detectors, tmp_path):
    files = str(detectors / 'stock.py'), str(detectors / 'stock.pth')
    with pytest.raises(CannotPrune, match='no gates to rank by: it has no attention block.*--rank magnitude'):
        prune_file(*files, str(tmp_path / 'out'), TARGET, rank='gates')
    assert not os.listdir(tmp_path)
    found = prune_file(*files, str(tmp_path / 'out'), TARGET, evaluate=False)
    assert trained_detector(found.config, found.checkpoint)[0].model.type == 'mmattn.Pruned'


def test_nothing_is_overwritten_unasked(pruned, trained, tmp_path):
    before = Path(pruned.checkpoint).read_bytes()
    with pytest.raises(FileExistsError, match='overwrite'):
        prune_file(*trained, os.path.dirname(pruned.config), TARGET, rank='random', evaluate=False)
    assert Path(pruned.checkpoint).read_bytes() == before


def test_a_detector_of_spatial_gates_alone_has_nothing_to_rank_by(detectors, tmp_path):
    from mmattn.engine import build_model

    files = str(detectors / 'detector.py'), str(tmp_path / 'spatial.pth')
    options = {'model.insert.0.block': dict(type='mmattn.SpatialAttention')}
    state = build_model(files[0], options).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=('bright', 'dark')))), files[1])
    with pytest.raises(CannotPrune, match='no block of this detector has a gate for each channel'):
        prune_file(*files, str(tmp_path / 'out'), TARGET, rank='gates', count=1, cfg_options=options)


def test_half_a_detector_is_refused(trained, tmp_path):
    config, checkpoint = trained
    content = torch.load(checkpoint)
    state = content['state_dict']
    content['state_dict'] = {key: value for key, value in state.items() if not key.startswith('bbox_head')}
    torch.save(content, tmp_path / 'half.pth')
    with pytest.raises(ValueError, match=r"half.pth' has \d+ of the model's \d+ weights; it lacks bbox_head"):
        prune_file(config, str(tmp_path / 'half.pth'), str(tmp_path / 'out'), TARGET, evaluate=False)
    assert os.listdir(tmp_path) == ['half.pth']


def test_what_is_pruned_is_not_overwritten(pruned):
    folder, before = os.path.dirname(pruned.config), Path(pruned.checkpoint).read_bytes()
    with pytest.raises(CannotPrune, match="pruned.pth' is what is pruned, and would be overwritten"):
        prune_file(pruned.config, pruned.checkpoint, folder, TARGET, overwrite=True, evaluate=False)
    assert Path(pruned.checkpoint).read_bytes() == before


def test_every_place_is_checked_first(trained, tmp_path):
    with pytest.raises(ValueError, match="OUT is ''"):
        prune_file(*trained, '', TARGET)
    (tmp_path / 'evaluation').write_text('mine')
    with pytest.raises(NotADirectoryError, match="evaluation' is a file"):
        prune_file(*trained, str(tmp_path), TARGET)
    (tmp_path / 'other' / 'pruning.json').mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match='there is a folder of this name'):
        prune_file(*trained, str(tmp_path / 'other'), TARGET, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ['evaluation', 'other']


def test_classes_of_mmdetection_2_are_kept(detectors, tmp_path):
    content = torch.load(detectors / 'stock.pth')
    content['meta'] = dict(CLASSES=('bright', 'dark'))
    torch.save(content, tmp_path / 'two.pth')
    files = str(detectors / 'stock.py'), str(tmp_path / 'two.pth')
    found = prune_file(*files, str(tmp_path / 'out'), TARGET, evaluate=False)
    assert trained_detector(found.config, found.checkpoint)[1].dataset_meta['classes'] == ('bright', 'dark')


@pytest.mark.parametrize(
    'options, says',
    [
        ({'model.teacher_config': dict(model=dict())}, 'has a teacher: give the config of the student alone'),
        ({'model.detector': dict(type='RetinaNet')}, 'wraps a detector: prune that one, with its own config'),
    ],
)
def test_what_contains_a_detector_is_refused(options, says, detectors, tmp_path):
    files = str(detectors / 'stock.py'), str(detectors / 'stock.pth')
    with pytest.raises(CannotPrune, match=says):
        prune_file(*files, str(tmp_path / 'out'), TARGET, cfg_options=options)


def test_gates_take_val_data(trained, tmp_path):
    none = dict(val_dataloader=None, val_cfg=None, val_evaluator=None)
    with pytest.raises(ValueError, match='the config has no val_dataloader'):
        prune_file(*trained, str(tmp_path / 'out'), TARGET, rank='gates', evaluate=False, cfg_options=none)


def test_a_pruned_config_fetches_no_weights_of_the_wider_layers(detectors):
    cfg = load_config(str(detectors / 'stock.py'))
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='wide.pth')
    assert config_of(cfg, {}, 'pruned.pth').model.backbone.init_cfg is None
