"""Drawing attention: where a gate lies on the picture, what the page says, what the files hold."""

import html
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from mmattn.visualization.image_files import evenly, file_names, pictures_at
from mmattn.visualization.inspection import SHOWN, _Frame, inside_outside, look
from mmattn.visualization.page import write_attention_page
from mmattn.visualization.sheet import contact_sheet, overlaid, range_text, span, with_detections
from tests.test_insertion.models import build, model_cfg, narrow
from tests.test_visualization.test_gates import assert_same_traces, attended, traces


def batch(model, picture, size):
    """A picture as the test pipeline of MMDetection makes it: scaled to ``size``."""
    from mmcv.transforms import Compose
    from mmdet.registry import TRANSFORMS

    steps = [
        dict(type='Resize', scale=size, keep_ratio=True),
        dict(type='PackDetInputs', meta_keys=('ori_shape', 'img_shape', 'scale_factor')),
    ]
    packed = Compose([TRANSFORMS.build(step) for step in steps])(
        dict(img=picture[..., ::-1].copy(), ori_shape=picture.shape[:2], img_shape=picture.shape[:2])
    )
    return dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])


def seen(model, picture, size=(96, 64), **options):
    classes = [f'class {i}' for i in range(80)]
    return look(
        model.eval(), picture, batch(model, picture, size), 'wide.png', classes, **{'score': 0.0, **options}
    )


@pytest.fixture
def wide(mmdet_scope):
    return np.random.default_rng(0).integers(0, 255, (50, 120, 3), dtype=np.uint8)


def preprocessed(block='mmattn.CBAM', **options):
    """With the padding of a real detector, and few detections."""
    model = attended(block, **options)
    model.test_cfg.update(max_per_img=5, score_thr=0.0)
    return model


def test_a_picture_is_neither_distorted_nor_moved():
    """A gate that is the column, or the row, at which it stands in the detector's input."""
    picture = np.zeros((50, 100, 3), np.uint8)
    frame = _Frame(picture, dict(batch_input_shape=(64, 128), img_shape=(64, 128), scale_factor=(1.2, 1.2)))
    assert frame.content == (60, 120) and frame.size == (320, 640)
    stride = 8
    columns = np.tile((np.arange(16, dtype=np.float32) + 0.5) * stride, (8, 1))
    rows = np.tile(((np.arange(8, dtype=np.float32) + 0.5) * stride)[:, None], (1, 16))
    inner = np.arange(40, 590)  # beside it, there is nothing to interpolate between
    np.testing.assert_allclose(frame.overlay(columns)[100, inner], (inner + 0.5) * 120 / 640, atol=0.05)
    inner = np.arange(40, 290)
    np.testing.assert_allclose(frame.overlay(rows)[inner, 100], (inner + 0.5) * 60 / 320, atol=0.05)
    assert frame.without_padding(columns).shape == (8, 15)


@pytest.mark.parametrize(
    'shape, fits',
    [
        ((4, 8, 16), True),
        ((4, 1, 1), True),
        ((4, 9, 17), True),
        ((4, 2, 4), True),
        ((4, 7, 7), False),
        ((4, 16, 8), False),
        ((4, 0, 0), False),
    ],
)
def test_which_maps_are_of_the_picture(shape, fits):
    meta = dict(batch_input_shape=(64, 128), scale_factor=(1.2, 1.2))
    frame = _Frame(np.zeros((50, 100, 3), np.uint8), meta)
    assert frame.is_of_picture(shape) is fits


def test_inside_less_outside_is_that_of_a_loop():
    values = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    box = (4.2, 3.7, 12.5, 9.1)
    inside = [values[y, x] for y in range(20) for x in range(30) if 4 <= x < 13 and 3 <= y < 10]
    outside = [values[y, x] for y in range(20) for x in range(30) if not (4 <= x < 13 and 3 <= y < 10)]
    assert inside_outside(values, box) == pytest.approx(np.mean(inside) - np.mean(outside), abs=1e-6)
    assert np.isnan(inside_outside(values, (-5, -5, 99, 99)))
    assert inside_outside(values, (29.9, 19.9, 29.95, 19.95)) == pytest.approx(
        values[19, 29] - np.delete(values.ravel(), 20 * 30 - 1).mean(), abs=1e-6
    )  # below a pixel: that one


def test_a_look_holds_what_the_detector_and_its_blocks_say(wide):
    model = preprocessed().eval()
    before = traces(model)
    found = seen(model, wide)
    assert_same_traces(model, before)
    assert found.picture.shape == (round(SHOWN * 50 / 120), SHOWN, 3)
    assert [site.name for site in found.sites] == [site.name for site, _, _ in model.attention.blocks()]
    with torch.no_grad():
        expected = model.test_step(batch(model, wide, (96, 64)))[0].pred_instances
    np.testing.assert_allclose(
        found.found.bboxes.numpy(),
        expected.bboxes.numpy() * np.tile((SHOWN / 120, found.picture.shape[0] / 50), 2),
        rtol=1e-5,
    )
    assert 0 < len(found.found) <= 5 and (found.found.scores.diff() <= 0).all()
    assert found.contrast.shape == (8, len(found.found))
    for site, row in zip(found.overlaid, found.contrast):
        assert site.spatial.shape == site.gates['spatial'].shape[2:]
        assert (site.gates['spatial'][0, 0] == site.spatial).all()
        gates = site.channels['channel']
        assert (site.gates['channel'][0, :, 0, 0] == gates).all()
        assert [channel for channel, _, _ in site.opened] == list(np.argsort(-gates)[:4])
        assert [gate for _, gate, _ in site.closed] == sorted(gates)[:4]
        assert row[0] == inside_outside(site.overlay, found.found.bboxes[0].numpy())


@pytest.mark.parametrize(
    'block, options',
    [
        ('mmattn.SE', {}),
        ('mmattn.SpatialAttention', {}),
        ('mmattn.CoordAttention', {}),
        ('mmattn.SGE', {}),
        ('mmattn.BAM', {}),
        ('mmattn.Compose', dict(blocks=[dict(type='mmattn.ECA'), dict(type='mmattn.SimAM')])),
    ],
)
def test_sheet_and_page_of_other_blocks(block, options, wide, tmp_path):
    found = seen(preprocessed(block, at='backbone.layer[34].0.residual', **options), wide)
    contact_sheet({'model': found}).savefig(tmp_path / 'sheet.png', dpi=30)
    write_attention_page([{'model': found}], tmp_path / 'page.html', 'title')
    with Image.open(tmp_path / 'sheet.png') as sheet:
        assert sheet.size[0] == 450
    assert all(html.escape(site.name) in (tmp_path / 'page.html').read_text() for site in found.sites)


def test_a_head_for_regions_has_no_overlay(mmdet_scope, wide, tmp_path):
    cfg = narrow(
        model_cfg(
            'FasterRCNN',
            insert=[dict(at='roi_head.bbox_head.shared_convs.0', block=dict(type='mmattn.CBAM'))],
        )
    )
    cfg.roi_head.bbox_head.update(type='Shared4Conv1FCBBoxHead', conv_out_channels=32)
    cfg.test_cfg.rpn.max_per_img = 20
    cfg.test_cfg.rpn.max_per_img = 1  # one region on a square picture
    found = seen(build(cfg), wide[:, :50], (64, 64))
    assert found.sites[0].spatial is not None and found.sites[0].overlay is None
    cfg.test_cfg.rpn.max_per_img = 20
    found = seen(build(cfg), wide)
    assert [site.overlay for site in found.sites] == [None]
    assert found.sites[0].channels['channel'].shape == (32,)
    write_attention_page([{'model': found}], tmp_path / 'page.html', 'title')
    assert 'but of regions' in (tmp_path / 'page.html').read_text()


def test_ends_are_those_of_the_product(wide):
    """CoordAttention multiplies two gates, each in (0, 2)."""
    model = preprocessed('mmattn.CoordAttention', start='identity')
    for block in model.attention.values():
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=2.0)
    for site in seen(model, wide).sites:
        assert site.ends == site.channel_ends == (0.0, 4.0)
    site = seen(preprocessed(start='identity'), wide).sites[0]
    assert site.ends == site.channel_ends == (0.0, 2.0)


@pytest.mark.parametrize('size', [(0.0, 0.0), (1.5, 1.5), (1.5, 9.0), (3.0, 3.0)])
def test_a_box_smaller_than_its_frame(size, wide):
    found = seen(preprocessed(), wide)
    found.found.bboxes[:, 2:] = found.found.bboxes[:, :2] + torch.tensor(size)
    assert with_detections(found).shape == found.picture.shape


def test_a_name_with_dollars(wide, tmp_path):
    """Which matplotlib takes for mathematics."""
    found = seen(preprocessed(), wide)
    found.name, found.classes = 'a$_$b.jpg', ['$x_$'] * 80
    contact_sheet({'m$_$': found, 'n': found}, '$_$').savefig(tmp_path / 'sheet.png', dpi=20)


def test_what_finds_no_boxes(mmdet_scope, wide, monkeypatch, tmp_path):
    """A model of panoptic segmentation has no boxes to show; nor have scores that are too low."""
    model = preprocessed()
    assert len(seen(model, wide, score=2.0).found) == 0
    test_step = type(model).test_step

    def without_boxes(self, data):
        samples = test_step(self, data)
        del samples[0].pred_instances
        return samples

    monkeypatch.setattr(type(model), 'test_step', without_boxes)
    found = seen(model, wide, cam_layer='backbone.layer4')
    assert len(found.found) == 0 and len(found.sites) == 8 and found.cams == []
    contact_sheet({'model': found}).savefig(tmp_path / 'sheet.png', dpi=20)
    write_attention_page([{'model': found}], tmp_path / 'page.html', 'title')
    assert '0 detections' in (tmp_path / 'page.html').read_text()


def test_even_gates_are_drawn_as_even():
    """The last bits of gates that are all alike must not look like attention."""
    values = np.full((4, 4), 1.0) + np.linspace(0, 1e-6, 16).reshape(4, 4)
    low, high = span(values, (0.0, 2.0))
    assert high - low == pytest.approx(0.04) and low < 1 < high
    assert span(np.array([0.2, 0.9]), (0.0, 1.0)) == (0.2, 0.9)


def test_colours_follow_the_gates(wide):
    found = seen(preprocessed(), wide)
    site = found.overlaid[0]
    site.overlay = np.tile(np.linspace(0, 1, SHOWN, dtype=np.float32), (found.picture.shape[0], 1))
    found.picture[:] = 100
    drawn = overlaid(found, site).astype(int)
    first = np.array([0.267004, 0.004874, 0.329415])  # of viridis, as published
    assert (drawn[0, 0] == np.round(255 * (0.6 * first + 0.4 * 100 / 255))).all()
    assert drawn[0, -1, 0] > 150 > drawn[0, -1, 2]  # viridis ends yellow
    assert range_text(site) == '0.000 to 1.000 of (0, 1)'


def test_the_page_stands_alone_and_has_every_site(wide, tmp_path):
    one = seen(preprocessed(), wide)
    other = seen(preprocessed(at='backbone.layer4.1.residual', block='mmattn.SE'), wide[:, :40])
    path = tmp_path / 'page.html'
    write_attention_page([{'a': one, 'b & <c>': other}], path, 'a <b>', 'text')
    page = path.read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page) and 'url(' not in page and '@import' not in page
    assert 'http' not in re.sub(r'base64,[^"]*', '', page)
    names = json.loads(html.unescape(re.search(r'data-names="([^"]*)"', page)[1]))
    assert names == [site.name for site in one.sites]
    assert page.count('no such site in this detector') == 7 and 'b &amp; &lt;c&gt;' in page
    assert f'max="{len(names) - 1}"' in page


def test_names_of_files(tmp_path):
    assert file_names(['a/x.jpg', 'b/x.png', 'x_2.jpg', 'y.jpg']) == ['x', 'x_2', 'x_2_2', 'y']
    assert evenly(list(range(10)), 3) == [0, 3, 6] and evenly([1, 2], 0) == [1, 2] and evenly([], 3) == []
    with pytest.raises(ValueError, match='no pictures in'):
        pictures_at(str(tmp_path))
    with pytest.raises(FileNotFoundError, match='no picture or folder'):
        pictures_at(str(tmp_path / 'none'))
    (tmp_path / 'B.JPG').touch()
    (tmp_path / 'a.txt').touch()
    assert pictures_at(str(tmp_path)) == [str(tmp_path / 'B.JPG')]
