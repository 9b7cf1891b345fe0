"""An inspection holds what the detector and its blocks computed."""

import numpy as np
import pytest
import torch

from mmattn.visualization import contact_sheet, write_attention_page
from mmattn.visualization.frame import LONG_SIDE
from mmattn.visualization.inspection import _upright, inside_minus_outside
from tests.test_insertion.models import build, model_cfg, narrow
from tests.test_visualization.helpers import assert_same_traces, batch, inspect, preprocessed, traces


def test_inside_less_outside_is_that_of_a_loop():
    values = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    box = (4.2, 3.7, 12.5, 9.1)
    inside = [values[y, x] for y in range(20) for x in range(30) if 4 <= x < 13 and 3 <= y < 10]
    outside = [values[y, x] for y in range(20) for x in range(30) if not (4 <= x < 13 and 3 <= y < 10)]
    assert inside_minus_outside(values, box) == pytest.approx(np.mean(inside) - np.mean(outside), abs=1e-6)
    assert np.isnan(inside_minus_outside(values, (-5, -5, 99, 99)))
    assert inside_minus_outside(values, (29.9, 19.9, 29.95, 19.95)) == pytest.approx(
        values[19, 29] - np.delete(values.ravel(), 20 * 30 - 1).mean(), abs=1e-6
    )  # below a pixel: that one


def test_an_inspection_has_what_the_detector_and_its_blocks_say(wide):
    model = preprocessed().eval()
    before = traces(model)
    found = inspect(model, wide)
    assert_same_traces(model, before)
    assert found.image.shape == (round(LONG_SIDE * 50 / 120), LONG_SIDE, 3)
    assert [site.name for site in found.sites] == [site.name for site, _, _ in model.attention.blocks()]
    with torch.no_grad():
        expected = model.test_step(batch(model, wide, (96, 64)))[0].pred_instances
    np.testing.assert_allclose(
        found.detections.bboxes.numpy(),
        expected.bboxes.numpy() * np.tile((LONG_SIDE / 120, found.image.shape[0] / 50), 2),
        rtol=1e-5,
    )
    assert 0 < len(found.detections) <= 5 and (found.detections.scores.diff() <= 0).all()
    assert found.contrast.shape == (8, len(found.detections))
    for site, row in zip(found.overlaid_sites, found.contrast):
        assert site.spatial.shape == site.gates['spatial'].shape[2:]
        assert (site.gates['spatial'][0, 0] == site.spatial).all()
        gates = site.channels['channel']
        assert (site.gates['channel'][0, :, 0, 0] == gates).all()
        assert [channel for channel, _, _ in site.opened] == list(np.argsort(-gates)[:4])
        assert [gate for _, gate, _ in site.closed] == sorted(gates)[:4]
        assert row[0] == inside_minus_outside(site.overlay, found.detections.bboxes[0].numpy())


def test_a_head_for_regions_has_no_overlay(mmdet_scope, wide, tmp_path):
    cfg = narrow(
        model_cfg(
            'FasterRCNN',
            insert=[dict(at='roi_head.bbox_head.shared_convs.0', block=dict(type='mmattn.CBAM'))],
        )
    )
    cfg.roi_head.bbox_head.update(type='Shared4Conv1FCBBoxHead', conv_out_channels=32)
    cfg.test_cfg.rpn.max_per_img = 20
    cfg.test_cfg.rpn.max_per_img = 1  # one region on a square image
    found = inspect(build(cfg), wide[:, :50], (64, 64))
    assert found.sites[0].spatial is not None and found.sites[0].overlay is None
    cfg.test_cfg.rpn.max_per_img = 20
    found = inspect(build(cfg), wide)
    assert [site.overlay for site in found.sites] == [None]
    assert found.sites[0].channels['channel'].shape == (32,)
    write_attention_page([{'model': found}], tmp_path / 'page.html', 'title')
    assert 'Its map shows regions' in (tmp_path / 'page.html').read_text()


def test_ends_are_those_of_the_product(wide):
    """CoordAttention multiplies two gates, each in (0, 2)."""
    model = preprocessed('mmattn.CoordAttention', start='identity')
    for block in model.attention.values():
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=2.0)
    for site in inspect(model, wide).sites:
        assert site.spatial_range == site.channel_range == (0.0, 4.0)
    site = inspect(preprocessed(start='identity'), wide).sites[0]
    assert site.spatial_range == site.channel_range == (0.0, 2.0)


def test_what_finds_no_boxes(mmdet_scope, wide, monkeypatch, tmp_path):
    """A model of panoptic segmentation has no boxes to show; nor have scores that are too low."""
    model = preprocessed()
    assert len(inspect(model, wide, score_thr=2.0).detections) == 0
    test_step = type(model).test_step

    def without_boxes(self, data):
        samples = test_step(self, data)
        del samples[0].pred_instances
        return samples

    monkeypatch.setattr(type(model), 'test_step', without_boxes)
    found = inspect(model, wide, cam_layer='backbone.layer4')
    assert len(found.detections) == 0 and len(found.sites) == 8 and found.cams == []
    contact_sheet({'model': found}).savefig(tmp_path / 'sheet.png', dpi=20)
    write_attention_page([{'model': found}], tmp_path / 'page.html', 'title')
    assert '0 detections' in (tmp_path / 'page.html').read_text()


def test_an_upright_box_is_around_a_rotated_one():
    """The corners of the rotated box, computed one by one, touch each of its sides."""
    boxes = torch.tensor(
        [[50.0, 40.0, 20.0, 6.0, 0.7], [9.0, 8.0, 4.0, 2.0, -1.2], [5.0, 5.0, 4.0, 2.0, 0.0]]
    )
    for (x, y, w, h, angle), found in zip(boxes.tolist(), _upright(boxes).tolist()):
        cos, sin = np.cos(angle), np.sin(angle)
        corners = np.array(
            [
                (x + u * w / 2 * cos - v * h / 2 * sin, y + u * w / 2 * sin + v * h / 2 * cos)
                for u in (-1, 1)
                for v in (-1, 1)
            ]
        )
        np.testing.assert_allclose(found, [*corners.min(0), *corners.max(0)], rtol=1e-5)
    assert _upright(boxes[:, :4]).equal(boxes[:, :4])
