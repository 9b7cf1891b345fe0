"""NMS and RoIAlign of several maps: naive NMS, and MMDetection's extractor, say the same."""

import torch
from mmdet.models import SingleRoIExtractor
from mmdet.structures.bbox import bbox_overlaps

from mmattn.export.operators import nms_mask, roi_align_levels


def random_boxes(count):
    corners = torch.rand(count, 2) * 40
    return torch.cat([corners, corners + torch.rand(count, 2) * 30 + 1], dim=1)


def naive_nms(boxes, scores, threshold, most):
    kept, overlaps = [], bbox_overlaps(boxes, boxes)
    for i in scores.argsort(descending=True).tolist():
        if scores[i] > 0 and all(overlaps[i, j] <= threshold for j in kept):
            kept.append(i)
    mask = torch.zeros_like(scores)
    mask[kept[:most]] = 1
    return mask


def test_nms_of_groups_and_classes():
    torch.manual_seed(0)
    boxes = torch.stack([random_boxes(20), random_boxes(20)])
    scores = torch.rand(2, 3, 20) - 0.2
    mask = nms_mask(boxes, scores, 0.3, 6)
    for group in range(2):
        for label in range(3):
            expected = naive_nms(boxes[group], scores[group, label], 0.3, 6)
            assert (mask[group, label] == expected).all() and 1 <= expected.sum() <= 6
    assert not nms_mask(boxes, -scores.abs(), 0.3, 6).any()


def test_regions_of_several_maps():
    torch.manual_seed(0)
    extractor = SingleRoIExtractor(
        dict(type='RoIAlign', output_size=(3, 5), sampling_ratio=0), 4, [4, 8], finest_scale=8
    )
    maps = [torch.rand(2, 4, 20, 24), torch.rand(2, 4, 10, 12)]
    rois = torch.cat([torch.randint(0, 2, (9, 1)).float(), random_boxes(9)], dim=1)
    levels = extractor.map_roi_levels(rois, 2)
    assert set(levels.tolist()) == {0, 1}
    levels[0] = -1
    layer = extractor.roi_layers[0]
    features = roi_align_levels(maps, rois, levels, 3, 5, [1 / 4, 1 / 8], layer.sampling_ratio, layer.aligned)
    assert not features[0].any()
    torch.testing.assert_close(features[1:], extractor(maps, rois)[1:])
