"""How much attach logs."""

import logging

import pytest
from mmdet.models import ResNet

from mmattn import attach
from mmattn.insertion import brief_log, log

RULES = [
    dict(at='layer3.*.residual', block=dict(type='mmattn.SE')),
    dict(at='layer4', block=dict(type='mmattn.ECA')),
]


@pytest.fixture
def lines(monkeypatch):
    found = []

    def print_log(message, logger=None, level=logging.INFO):
        found.append((level, message))

    monkeypatch.setattr(log, 'print_log', print_log)
    return found


def test_a_line_per_site(lines):
    model = attach(ResNet(18), RULES)
    assert [level for level, _ in lines] == [logging.INFO] * 3
    number = sum(p.numel() for p in model.attention['layer3_0_residual'].parameters())
    assert lines[0][1].startswith('attention: layer3.0.residual -> SE(')
    assert lines[0][1].endswith(f', {number:,} parameters')


def test_one_line_in_all(lines):
    with brief_log():
        model = attach(ResNet(18), RULES)
    total = sum(p.numel() for p in model.attention.parameters())
    assert [level for level, _ in lines] == [logging.DEBUG] * 3 + [logging.INFO]
    assert lines[-1][1] == f'attention: SE at 2 sites, ECA at 1 site, {total:,} parameters'
    attach(ResNet(18), RULES)
    assert [level for level, _ in lines[4:]] == [logging.INFO] * 3
