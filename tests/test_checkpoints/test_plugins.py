"""A detector trained through ``plugins=``, loaded without; and one without attention, loaded with."""

import io
import logging

import pytest
import torch
from mmdet.models import ResNet
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import save_checkpoint
from torch import nn

from mmattn import attach
from mmattn.checkpoints import check_insertion

SAID = 'THE CHECKPOINT HAS ATTENTION THAT WAS PUT THERE BY plugins= AND THE MODEL HAS NONE'
CBAM = dict(
    cfg=dict(type='mmattn.CBAM', start='identity'), stages=(False, True, True, True), position='after_conv3'
)
ECA = dict(cfg=dict(type='mmattn.ECA', postfix=2), position='after_conv2')


class Detector(BaseModel):
    def __init__(self, depth=50, plugins=None):
        super().__init__()
        self.backbone = ResNet(depth, base_channels=8, stem_channels=8, plugins=plugins)

    def forward(self, inputs=None, data_samples=None, mode='tensor'):
        return self.backbone(inputs)


def said(warnings):
    found = [w for w in warnings if SAID in w]
    warnings.clear()
    return found


def test_the_plugins_of_its_config_are_to_be_written(warnings):
    config = Config(dict(model=dict(type='X', backbone=dict(type='ResNet', plugins=[CBAM, ECA]))))
    checkpoint = dict(
        state_dict=Detector(plugins=[CBAM, ECA]).state_dict(), meta=dict(cfg=config.pretty_text)
    )
    assert check_insertion(Detector(), checkpoint) is False
    (text,) = said(warnings)
    assert "Write in the config of 'backbone':\n  plugins=[dict(" in text
    written = eval(text.rpartition('plugins=')[2])
    assert written == [CBAM, ECA]
    assert check_insertion(Detector(plugins=written), checkpoint) and not said(warnings)


@pytest.mark.parametrize('meta', [None, dict(cfg='not ( python'), dict(cfg=3), dict(cfg='plugins = 3')])
def test_without_a_config_its_weights_say_which_blocks_and_stages(meta, warnings):
    state = {f'module.{key}': value for key, value in Detector(plugins=[CBAM, ECA]).state_dict().items()}
    assert check_insertion(Detector(), dict(state_dict=state, meta=meta)) is False
    (text,) = said(warnings)
    assert (
        "dict(cfg=dict(type='mmattn.CBAM'), stages=(False, True, True, True), position='after_conv3')" in text
    )
    assert "dict(cfg=dict(type='mmattn.ECA'), stages=(True, True, True, True)" in text
    assert 'the weights do not say' in text


def test_a_block_without_weights_is_found_by_the_config(warnings):
    simam = dict(cfg=dict(type='mmattn.SimAM'), position='after_conv3')
    config = Config(dict(model=dict(type='X', backbone=dict(type='ResNet', plugins=[simam]))))
    checkpoint = dict(state_dict=Detector(plugins=[simam]).state_dict(), meta=dict(cfg=config.pretty_text))
    assert check_insertion(Detector(), checkpoint) is False
    (text,) = said(warnings)
    assert 'Write in the config of the backbone:' in text
    assert eval(text.rpartition('plugins=')[2]) == [simam]
    assert check_insertion(Detector(plugins=[simam]), checkpoint) and not said(warnings)
    other = nn.Conv2d(3, 8, 1)  # which has none of the checkpoint's weights
    assert check_insertion(other, checkpoint) and not said(warnings)


def test_a_config_that_is_a_program_is_not_run(warnings, tmp_path):
    text = f'open({str(tmp_path / "marker")!r}, "w")\nbackbone = dict(plugins=[f() for f in [print]])'
    state = Detector(plugins=[CBAM]).state_dict()
    assert check_insertion(Detector(), dict(state_dict=state, meta=dict(cfg=text))) is False
    assert not (tmp_path / 'marker').exists()


def test_nothing_is_said_without_cause(warnings):
    for checkpoint, model in (
        (Detector(), Detector()),
        (Detector(), Detector(plugins=[CBAM])),
        (Detector(plugins=[CBAM]), ResNet(50, base_channels=8, stem_channels=8)),  # another model
        (Detector(18), Detector()),
    ):
        assert check_insertion(model, dict(state_dict=checkpoint.state_dict()))
        assert not said(warnings)


@pytest.fixture
def load(tmp_path, capsys):
    """Load a state dict by a runner into a model with attention; return the model and all that is said."""
    handler = logging.StreamHandler(io.StringIO())
    logger = MMLogger.get_current_instance()

    def load(state, rules, hooks=()):
        save_checkpoint(dict(state_dict=state, meta={}), str(tmp_path / 'x.pth'))
        torch.manual_seed(1)
        model = attach(Detector(18), rules)
        hooks = [dict(type='mmattn.CheckInsertionHook'), *hooks]
        runner = Runner(model, str(tmp_path), custom_hooks=hooks, experiment_name=tmp_path.name)
        nonlocal logger
        logger = MMLogger.get_current_instance()
        logger.addHandler(handler)
        capsys.readouterr()
        runner.call_hook('before_run')
        runner.load_checkpoint(str(tmp_path / 'x.pth'))
        return model, handler.stream.getvalue() + capsys.readouterr().out

    yield load
    logger.removeHandler(handler)


IDENTITY = [
    dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM', start='identity')),
    dict(
        at='backbone.layer4.*.residual', block=dict(type='mmattn.GCT'), order=1
    ),  # the identity as published
]


@pytest.mark.parametrize('hooks', [(), (EMAHook(),)], ids=['plain', 'EMA'])
def test_blocks_that_start_as_the_identity_are_one_line(hooks, load):
    torch.manual_seed(0)
    stock = Detector(18)
    model, text = load(stock.state_dict(), IDENTITY, hooks)
    line = 'the checkpoint has no attention: 10 blocks start as the identity, and nothing else is missing'
    assert line in text and 'missing keys' not in text and 'do not match' not in text
    x = torch.rand(1, 3, 64, 64)
    assert all(a.equal(b) for a, b in zip(model.eval()(x), stock.eval()(x)))


def test_what_else_is_missing_is_listed_alone(load):
    state = Detector(18).state_dict()
    del state['backbone.conv1.weight']
    text = load(state, IDENTITY)[1]
    assert '10 blocks start as the identity\n' in text
    assert 'missing keys in source state_dict: backbone.conv1.weight\n' in text


def test_blocks_with_weights_or_another_start_are_not_passed_over(load):
    random = [dict(at='backbone.layer4.*.residual', block=dict(type='mmattn.SE'))]
    text = load(Detector(18).state_dict(), random)[1]
    assert 'starts at random' in text and 'as the identity' not in text.replace("'identity'", '')
    assert 'missing keys in source state_dict: attention.backbone_layer4_0_residual.fc1.weight' in text
