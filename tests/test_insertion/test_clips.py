"""Attention along time in a video detector of MMDetection."""

import copy
import pickle

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs, demo_track_inputs
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from torch import nn

from mmattn import attach, detach, sites
from mmattn.blocks import TemporalAttention
from mmattn.cost import block_cost
from tests.test_blocks.helpers import randomise
from tests.test_insertion.models import build, model_cfg, narrow

AT = 'backbone.layer4.*.residual'


def video_config():
    """Mask2Former for videos, with a ResNet-18 and few layers and queries."""
    cfg = get_config('mmdet::mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019.py').model
    cfg.pop('init_cfg')
    # Without zero_init_residual, which leaves residual branches nothing to do.
    cfg.backbone.update(depth=18, init_cfg=None, zero_init_residual=False)
    head = cfg.track_head
    head.update(in_channels=[64, 128, 256, 512], num_queries=5)
    head.pixel_decoder.encoder.num_layers = 1
    head.transformer_decoder.num_layers = 1
    return cfg


def build_video(*rules):
    cfg = video_config()
    if rules:
        cfg.update(type='mmattn.WithAttention', detector='Mask2FormerVideo', insert=list(rules))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg)
    torch.manual_seed(0)
    model.init_weights()
    return model


def rule(**options):
    return dict(at=AT, block=dict(type='mmattn.TemporalAttention', **options))


def clips(model, number, frames, training):
    packed = demo_track_inputs(number, frames, image_shapes=(3, 64, 96), num_classes=40, with_mask=True)
    data = model.data_preprocessor(packed, training)
    return dict(inputs=data['inputs'], data_samples=data['data_samples'])


def blocks(model):
    return [m for m in model.modules() if isinstance(m, TemporalAttention)]


@pytest.fixture(scope='module')
def stock():
    return build_video()


def test_a_step_on_two_clips_of_two_frames(stock):
    model = build_video(rule(start='identity'))
    assert len(blocks(model)) == 2
    seen = []
    blocks(model)[0].register_forward_hook(lambda block, args, out: seen.append((block.clips, len(out))))
    optimizer = torch.optim.SGD(model.attention.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss, _ = model.parse_losses(model(**clips(model, 2, 2, True), mode='loss'))
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in model.attention.parameters())
        optimizer.step()
    assert seen == [((2, 2), 4)] * 2
    assert all(p.grad.abs().sum() > 0 for name, p in model.attention.named_parameters() if 'expand' in name)


def test_prediction_is_of_a_whole_video_and_starts_as_that_of_the_plain_detector(stock):
    model = build_video(rule(start='identity')).eval()
    stock.eval()
    for frames in (5, 1):
        data = clips(stock, 1, frames, False)
        with torch.no_grad():
            (one,) = model(**copy.deepcopy(data), mode='predict')
            (two,) = stock(**copy.deepcopy(data), mode='predict')
        assert len(one.video_data_samples) == frames
        for a, b in zip(one.video_data_samples, two.video_data_samples):
            assert a.pred_track_instances.scores.equal(b.pred_track_instances.scores)
            assert a.pred_track_instances.masks.equal(b.pred_track_instances.masks)
    assert all(block.clips is None for block in blocks(model))


def test_frames_matter_to_one_another():
    model = build_video(rule())
    randomise(model.attention)
    model.eval()
    data = clips(model, 1, 4, False)
    found = []
    blocks(model)[0].register_forward_hook(
        lambda block, args, out: found.append(block.gates(args[0])['frame'].flatten())
    )
    with torch.no_grad():
        model(**copy.deepcopy(data), mode='predict')
        data['inputs'][0, 3] = 0
        model(**copy.deepcopy(data), mode='predict')
    moved = (found[0] != found[1]).nonzero().flatten().tolist()
    assert moved == [2, 3]


def test_it_is_forgotten_after_an_error_as_well():
    model = build_video(rule())
    with pytest.raises(AssertionError):  # Mask2Former predicts one video at a time
        model(**clips(model, 2, 2, False), mode='predict')
    assert all(block.clips is None for block in blocks(model))


def test_copies_get_their_clips_and_detach_removes_the_hooks(stock):
    model = build_video(rule())
    data = clips(model, 1, 3, False)
    model.eval()
    with torch.no_grad():
        (expected,) = model(**copy.deepcopy(data), mode='predict')
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.no_grad():
            (got,) = other(**copy.deepcopy(data), mode='predict')
        assert got[0].pred_track_instances.scores.equal(expected[0].pred_track_instances.scores)
    detach(model)
    for name in (
        '_forward_pre_hooks',
        '_forward_hooks',
        '_forward_pre_hooks_with_kwargs',
        '_forward_hooks_always_called',
    ):
        assert not getattr(model, name), name
    assert list(model.state_dict()) == list(stock.state_dict())


def test_sites_and_fake_runs_work_with_it_in_place():
    model = build_video(rule(num_frames=2))
    assert any(site.name == 'backbone.layer3.0.residual' for site in sites(model))
    assert blocks(model)[0].num_frames == 2


def test_a_given_number_of_frames_works_in_an_image_detector():
    model = build(narrow(model_cfg('RetinaNet', insert=[rule(num_frames=2)])))
    packed = demo_mm_inputs(4, [(3, 64, 64)] * 4, num_classes=80)
    loss, _ = model.parse_losses(model(**model.data_preprocessor(packed, True), mode='loss'))
    loss.backward()


def test_an_image_detector_has_no_clips():
    with pytest.raises(
        ValueError,
        match='num_frames=None takes the number of frames from the batches of a '
        'video detector, and RetinaNet is a detector of single images: write num_fra',
    ):
        build(narrow(model_cfg('RetinaNet', insert=[rule()])))


class FrameMean(nn.Module):
    """A user's own block, which follows the clip protocol: it mixes the mean of a clip into its frames."""

    clips_option = 'length'

    def __init__(self, in_channels, length=None):
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, in_channels, 1, 1), 0.5))
        self.length = length
        self.clips = None
        self.seen = []

    @property
    def wants_clips(self):
        return self.length is None

    def set_clips(self, clips):
        self.clips = clips

    def forward(self, x):
        frames = self.clips[1] if self.clips else self.length
        self.seen.append((self.clips, len(x)))
        mean = x.unflatten(0, (-1, frames)).mean(1, keepdim=True)
        return x + self.scale * mean.expand(-1, frames, -1, -1, -1).flatten(0, 1)


@pytest.mark.parametrize(
    'block',
    [
        dict(type=FrameMean),
        dict(type='mmattn.External', module=dict(type=FrameMean)),
        dict(
            type='mmattn.Compose',
            blocks=[
                dict(type='mmattn.SE'),
                dict(type='mmattn.External', module=dict(type=FrameMean)),
            ],
        ),
    ],
    ids=['alone', 'in External', 'in Compose'],
)
def test_a_users_own_block_gets_the_clips_too(block):
    model = build_video(dict(at=AT, block=block))
    own = [each for each in model.modules() if isinstance(each, FrameMean)]
    assert len(own) == 2
    assert any(site.name == AT.replace('*', '0') for site in sites(model))  # runs on fake tensors
    for each in own:
        each.seen.clear()
    loss, _ = model.parse_losses(model(**clips(model, 2, 2, True), mode='loss'))
    loss.backward()
    assert all(each.seen == [((2, 2), 4)] and each.clips is None and each.scale.grad.any() for each in own)


def test_a_users_own_block_with_a_given_length_is_left_alone():
    model = build_video(dict(at=AT, block=dict(type=FrameMean, length=2)))
    own = next(each for each in model.modules() if isinstance(each, FrameMean))
    own.seen.clear()
    model.parse_losses(model(**clips(model, 2, 2, True), mode='loss'))
    assert own.seen == [(None, 4)]
    sites(model)
    assert own.clips is None and own.length == 2


def test_an_image_detector_refuses_a_users_own_block_by_its_name_and_option():
    with pytest.raises(
        ValueError,
        match='FrameMean: length=None takes the number of frames from the batches of a video detector, and '
        'RetinaNet is a detector of single images: write length=...',
    ):
        build(narrow(model_cfg('RetinaNet', insert=[dict(at=AT, block=dict(type=FrameMean))])))


def test_the_cost_of_a_users_own_block_is_that_of_one_frame():
    assert block_cost(FrameMean, 8, (6, 5)).parameters == 8


def test_a_detector_that_runs_frames_apart_is_refused():
    """MaskTrack R-CNN runs the key frames and the reference frames of all clips one after the other."""
    name = 'masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019'
    cfg = get_config(f'mmdet::masktrack_rcnn/{name}.py').model
    cfg.detector.init_cfg = None
    cfg.detector.backbone.init_cfg = None
    cfg.pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg)
    attach(model, [dict(rule(), at=f'detector.{AT}')])
    packed = demo_track_inputs(
        1, 2, key_frames_inds=[0], image_shapes=(3, 64, 64), num_classes=40, with_mask=True
    )
    data = model.data_preprocessor(packed, True)
    with pytest.raises(
        ValueError,
        match=r'the batch holds 1 x 2 frames \(clips x frames\), but the map has batch size 1: this detector '
        'does not run the frames of a clip together',
    ):
        model(**data, mode='loss')
