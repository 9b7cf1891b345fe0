"""The parameters of the detectors in ECA-Net's table 5 (CVPR 2020), to both decimals.

The paper counts trained parameters in millions. The stem and the first stage are frozen, and so is the
attention in that stage. SE has no biases.
"""

from pathlib import Path

import pytest

from mmattn.engine.config_model import build_model

CONFIGS = Path(__file__).parents[2] / 'configs'
TABLE = {
    ('faster-rcnn', 50): dict(plain='41.53', se='44.02', eca='41.53'),
    ('faster-rcnn', 101): dict(plain='60.52', se='65.24', eca='60.52'),
    ('retinanet', 50): dict(plain='37.74', se='40.23', eca='37.74'),
    ('retinanet', 101): dict(plain='56.74', se='61.45', eca='56.74'),
}
CASES = [
    pytest.param(
        *detector,
        block,
        millions,
        id=f'{detector[0]}-{detector[1]}-{block}',
        marks=[pytest.mark.slow] if detector[1] == 101 else [],
    )
    for detector, row in TABLE.items()
    for block, millions in row.items()
]


@pytest.mark.parametrize('detector, depth, block, millions', CASES)
def test_trained_parameters_of_eca_net_table_5(detector, depth, block, millions):
    if block == 'plain':
        folder, middle, options = detector.replace('-', '_'), '', {}
    else:
        folder, middle, options = block, f'-{block}', {'model.insert.0.freeze_with_host': True}
    if block == 'se':
        options['model.insert.0.block.bias'] = False
    model = build_model(str(CONFIGS / folder / f'{detector}_r{depth}{middle}_fpn_1x_coco.py'), options)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert f'{trained / 1e6:.2f}' == millions
