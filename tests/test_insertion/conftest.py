"""Shared by the tests of insertion: what attach refuses leaves the model as it was."""

import pytest
from mmdet.models import ResNet

from mmattn import attach


@pytest.fixture
def refused():
    """Check that ``attach`` refuses rules with this error, and leaves a backbone alone."""

    def check(rules, error, text):
        backbone = ResNet(18)
        before = list(backbone.state_dict())
        with pytest.raises(error, match=text):
            attach(backbone, rules)
        assert type(backbone) is ResNet and list(backbone.state_dict()) == before
        assert not any(module._forward_hooks for module in backbone.modules())

    return check
