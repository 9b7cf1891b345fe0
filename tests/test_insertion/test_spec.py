"""A checkpoint knows its insertion, and says so when it is loaded into a model with another one."""

import ast
import copy
import json

import pytest
import torch
from mmdet.models import ResNet
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage, revert_sync_batchnorm
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import get_state_dict, save_checkpoint, weights_to_cpu
from torch import nn

from mmattn import attach, sites
from mmattn.blocks import SE
from mmattn.insertion.glob_names import names_to_globs
from mmattn.insertion.globs import glob_match
from mmattn.insertion.insert_text import insert_text
from mmattn.insertion.spec import decode_spec, encode_spec, rules_of
from mmattn.registry import MODELS

KEY = 'attention._extra_state'
CBAM = dict(type='mmattn.CBAM', start='identity', kernel_size=3)
RULES = [
    dict(at='layer[34].*.residual', block=CBAM),
    dict(at='layer4.*.residual', block=dict(type='mmattn.ECA'), order=-2),
    dict(at='stage1', block=dict(type='mmattn.SE'), freeze_with_host=True),
]
SAID = 'THE ATTENTION OF THE CHECKPOINT IS NOT THAT OF THE MODEL'


def backbone():
    return ResNet(18, base_channels=16, stem_channels=16)


def with_attention(*rules):
    return attach(backbone(), list(rules or RULES))


def read(state):
    """The spec in a state dict, by what its docstring says: JSON, a byte a number."""
    return json.loads(bytes(state[KEY].tolist()).decode('ascii'))


def said(warnings, text=SAID):
    found = [w for w in warnings if text in w]
    warnings.clear()
    return found


def test_what_a_spec_says():
    spec = read(with_attention().state_dict())
    cbam = dict(type='mmattn.CBAM', kernel_size=3, start='identity')
    eca = dict(type='mmattn.ECA', start='paper')  # not written in the rule
    assert spec['format'] == 1 and spec['detector'] == 'ResNet' and spec['mmattn'][0].isdigit()
    assert spec['insert'] == [
        dict(at='layer1', block=dict(type='mmattn.SE', start='paper'), order=0, freeze_with_host=True),
        *(dict(at=f'layer3.{i}.residual', block=cbam, order=0, freeze_with_host=False) for i in (0, 1)),
        *(
            dict(at=f'layer4.{i}.residual', block=block, order=order, freeze_with_host=False)
            for i in (0, 1)
            for block, order in ((eca, -2), (cbam, 0))
        ),
    ]


def test_a_spec_gives_the_same_insertion_again():
    torch.manual_seed(0)
    first = with_attention()
    torch.manual_seed(0)
    again = attach(backbone(), rules_of(read(first.state_dict())))
    assert again.attention.spec == first.attention.spec
    expected = first.state_dict()
    assert list(again.state_dict()) == list(expected)
    assert all(value.equal(expected[key]) for key, value in again.state_dict().items())
    assert [repr(each) for each in again.attention.children()] == [
        repr(each) for each in first.attention.children()
    ]


def _ema(model):
    ema = ExponentialMovingAverage(model, update_buffers=True, momentum=0.25)
    for _ in range(3):
        ema.update_parameters(model)
    state = ema.state_dict()
    ExponentialMovingAverage(with_attention(), update_buffers=True).load_state_dict(state, strict=True)
    return {key.removeprefix('module.'): value for key, value in state.items()}


def _saved(model, tmp_path, **options):
    save_checkpoint(dict(state_dict=weights_to_cpu(get_state_dict(model))), str(tmp_path / 'x.pth'))
    return torch.load(tmp_path / 'x.pth', **options)['state_dict']


@pytest.mark.parametrize(
    'way',
    [
        lambda model, _: model.state_dict(),
        lambda model, path: _saved(model, path, weights_only=True),
        lambda model, _: _ema(model),
        lambda model, _: copy.deepcopy(model).state_dict(),
        lambda model, _: model.half().state_dict(),
        lambda model, _: {key: value.half() for key, value in model.state_dict().items()},
        lambda model, _: {key: value.bfloat16() for key, value in model.state_dict().items()},
        lambda model, _: revert_sync_batchnorm(nn.SyncBatchNorm.convert_sync_batchnorm(model)).state_dict(),
        lambda model, _: attended_elsewhere(model).state_dict(),
    ],
    ids=['torch', 'mmengine', 'ema', 'deepcopy', 'half', 'half_state', 'bfloat16_state', 'SyncBN', 'loaded'],
)
def test_a_spec_survives(way, tmp_path, warnings):
    model = with_attention()
    spec = copy.deepcopy(model.attention.spec)
    state = way(model, tmp_path)
    assert decode_spec(state[KEY]) == spec
    save_checkpoint(dict(state_dict=state), str(tmp_path / 'y.pth'))
    load_checkpoint(with_attention(), str(tmp_path / 'y.pth'))
    assert not said(warnings)


def attended_elsewhere(model):
    other = with_attention()
    other.load_state_dict(model.state_dict(), strict=True)
    return other


class Runner:
    """What EMAHook asks of one."""

    iter = epoch = 0
    _resume = False

    def __init__(self, model):
        self.model = model


@pytest.mark.parametrize('begin', [0, 5])
def test_a_spec_survives_the_hook_of_moving_averages(begin):
    model = with_attention()
    runner, hook = Runner(model), EMAHook(strict_load=True, begin_iter=begin)
    hook.before_run(runner)
    hook.after_train_iter(runner, 0)
    hook.before_val_epoch(runner), hook.after_val_epoch(runner)
    checkpoint = dict(state_dict=model.state_dict())
    hook.before_save_checkpoint(runner, checkpoint)
    assert decode_spec(checkpoint['state_dict'][KEY]) == model.attention.spec
    assert decode_spec(checkpoint['ema_state_dict'][f'module.{KEY}']) == model.attention.spec
    for runner._resume in (True, False):
        hook.after_load_checkpoint(runner, copy.deepcopy(checkpoint))


def load(into, state, tmp_path, engine):
    if engine == 'mmengine':
        save_checkpoint(dict(state_dict=state), str(tmp_path / 'x.pth'))
        load_checkpoint(into, str(tmp_path / 'x.pth'))
    else:
        into.load_state_dict(state, strict=False)


@pytest.mark.parametrize('engine', ['mmengine', 'torch'])
def test_other_sites_are_warned_of(engine, tmp_path, warnings):
    one = with_attention(dict(at='layer[1-4].*.residual', block=CBAM))
    other = with_attention(dict(at=['layer[1-3].0.residual', 'layer4'], block=CBAM))
    load(other, one.state_dict(), tmp_path, engine)
    (text,) = said(warnings)
    assert (
        "the checkpoint has attention at 5 sites ('layer1.1.residual', 'layer2.1.residual', "
        "'layer3.1.residual', ...) where the model has none; the model has attention at 1 site "
        "('layer4') for which the checkpoint holds nothing. The checkpoint was trained with\n"
        "  insert=[dict(at='layer[1-4].[0-1].residual', block=dict(type='mmattn.CBAM', kernel_size=3, "
        "start='identity'))]\n"
    ) in text


@pytest.mark.parametrize('engine', ['mmengine', 'torch'])
def test_another_start_is_warned_of_though_all_shapes_fit(engine, tmp_path, warnings):
    """The gates of one would be twice or half those of the other."""
    one, other = (
        with_attention(dict(at='layer4', block=dict(type='mmattn.SE', **start)))
        for start in (dict(start='identity'), {})
    )
    assert not other.load_state_dict(one.state_dict()).missing_keys
    warnings.clear()
    load(other, one.state_dict(), tmp_path, engine)
    (text,) = said(warnings)
    assert (
        "the blocks differ at 1 site ('layer4'): the checkpoint has dict(type='mmattn.SE', "
        "start='identity'), the model has dict(type='mmattn.SE', start='paper'). The checkpoint was trained "
        "with\n  insert=[dict(at='layer4', block=dict(type='mmattn.SE', start='identity'))]"
    ) in text


@pytest.mark.parametrize(
    'block, text',
    [
        (
            dict(type='mmattn.ECA'),
            "checkpoint has dict(type='mmattn.CBAM', reduction=16, kernel_size=3, "
            "start='identity'), the model has dict(type='mmattn.ECA', ",
        ),
        (
            dict(CBAM, reduction=8),
            "checkpoint has dict(type='mmattn.CBAM', reduction=16), the model has "
            "dict(type='mmattn.CBAM', reduction=8)",
        ),
    ],
)
def test_other_blocks_and_options_are_warned_of(block, text, warnings):
    other = with_attention(dict(at='layer4', block=block))
    with pytest.raises(RuntimeError, match='size mismatch|[Mm]issing'):
        other.load_state_dict(with_attention(dict(at='layer4', block=CBAM)).state_dict())
    (found,) = said(warnings)
    assert f"the blocks differ at 1 site ('layer4'): the {text}" in found


def test_another_order_of_the_blocks_of_a_site_is_warned_of(warnings):
    def chain(se, eca):
        return with_attention(
            dict(at='layer4', block=dict(type='mmattn.SE'), order=se),
            dict(at='layer4', block=dict(type='mmattn.SE', reduction=16), order=eca),
        )

    chain(3, 5).load_state_dict(chain(1, 2).state_dict())
    assert not said(warnings)  # the numbers do not matter
    one = with_attention(
        dict(at='layer4', block=dict(type='mmattn.SE'), order=0),
        dict(at='layer4', block=dict(type='mmattn.SE', start='identity'), order=1),
    )
    other = with_attention(
        dict(at='layer4', block=dict(type='mmattn.SE'), order=1),
        dict(at='layer4', block=dict(type='mmattn.SE', start='identity'), order=0),
    )
    other.load_state_dict(one.state_dict())
    assert ' and then ' in said(warnings)[0]


def test_the_same_insertion_written_otherwise_is_none_to_warn_of(warnings):
    one = with_attention(dict(at='stage4', block=dict(type='mmattn.SE')), dict(at='layer3', block=CBAM))
    other = with_attention(
        dict(at='layer3', block=dict(CBAM, reduction=16)),
        dict(at=['layer4'], block=dict(type=SE, start='paper'), freeze_with_host=True),
    )
    other.load_state_dict(one.state_dict())
    one.load_state_dict(other.state_dict())
    assert not said(warnings)


def test_weights_without_a_spec_load_without_complaint(warnings, tmp_path):
    """The checkpoint is of an earlier version, or converted from elsewhere."""
    model = with_attention(dict(at='layer4', block=dict(type='mmattn.SE')))
    state = {key: value for key, value in model.state_dict().items() if key != KEY}
    assert not model.load_state_dict(state, strict=True).missing_keys
    load(model, state, tmp_path, 'mmengine')
    load(model, backbone().state_dict(), tmp_path, 'torch')
    assert not [w for w in warnings if KEY in w or SAID in w]


@pytest.mark.parametrize(
    'change, text',
    [
        (lambda spec: dict(spec, format=2), 'its insertion spec has format 2, but mmattn .* update'),
        (lambda spec: dict(spec, insert='everywhere'), 'its insertion spec cannot be read'),
        (lambda spec: [spec], 'its insertion spec cannot be read'),
    ],
)
def test_a_spec_that_cannot_be_read_is_warned_of(change, text, warnings):
    model = with_attention()
    state = {**model.state_dict(), KEY: encode_spec(change(model.attention.spec))}
    model.load_state_dict(state)
    assert len(said(warnings, "cannot tell if the checkpoint's attention is that of the model")) == 1
    with pytest.raises(ValueError, match=text):
        decode_spec(state[KEY])
    with pytest.raises(ValueError, match='cannot be read'):
        decode_spec(torch.tensor([200, 13], dtype=torch.uint8))


class Halve(nn.Module):
    """A block of somebody's own, in no registry."""

    def __init__(self, in_channels, by=2, functions=None):
        super().__init__()
        self.by = by

    def forward(self, x):
        return x / self.by


def test_a_class_in_no_registry_is_recorded_by_its_place():
    model = with_attention(dict(at='layer4', block=dict(type=Halve, by=4)))
    spec = read(model.state_dict())
    assert spec['insert'][0]['block'] == dict(type=f'{__name__}.Halve', by=4)
    again = attach(backbone(), rules_of(spec))
    assert type(again.attention['layer4']) is Halve and again.attention['layer4'].by == 4


def test_what_cannot_be_recorded_is_said():
    class Local(Halve):
        pass

    for block, lost in (
        (dict(type=Local), '.*<locals>.Local'),
        (dict(type=Halve, functions=[torch.relu]), '<built-in method relu'),
    ):
        model = with_attention(dict(at='layer4', block=block))
        model.state_dict()
        with pytest.raises(
            ValueError,
            match=f"the block at 'layer4' cannot be recorded: {lost}.* is neither "
            'data nor something that can be imported',
        ):
            rules_of(model.attention.spec)


def test_every_block_of_this_package_goes_by_its_registered_name():
    backbone_rules = [
        dict(at='layer4', block=dict(type=cls))
        for cls in set(MODELS.module_dict.values())
        if isinstance(cls, type) and getattr(cls, 'role', None) == 'gate'
    ]
    assert len(backbone_rules) >= 3
    for rule in backbone_rules:
        spec = with_attention(rule).attention.spec
        assert spec['insert'][0]['block']['type'] == f'mmattn.{rule["block"]["type"].__name__}'


NAMES = [f'backbone.layer{i}.{j}.residual' for i, n in zip('1234', (3, 4, 23, 3)) for j in range(n)]


@pytest.mark.parametrize(
    'names',
    [
        NAMES,
        NAMES[1:],
        NAMES[::3],
        ['neck.output.0', 'neck.output.2', 'neck.output.3'],
        ['a.1.2', 'a.2.1'],
        ['a1b2', 'a.1', 'a.2', 'b'],
    ],
)
def test_globs_of_names_match_exactly_those(names):
    globs = names_to_globs(names)
    assert len(globs) <= len(names)
    others = {*NAMES, *(name.replace('1', '2') for name in names), *names, 'a.1.1', 'a.2.2', 'neck.output.1'}
    assert {n for n in others if any(glob_match(g, n) for g in globs)} == set(names)


def test_globs_of_names_are_few():
    assert names_to_globs(NAMES[:7]) == ['backbone.layer1.[0-2].residual', 'backbone.layer2.[0-3].residual']
    assert len(names_to_globs(NAMES)) <= 6


def test_what_a_warning_says_to_write_can_be_written():
    model = with_attention()
    text = insert_text(model.attention.spec['insert'])
    tree = ast.parse(f'dict({text})', mode='eval')
    insert = eval(compile(tree, 'text', 'eval'), {'dict': dict})['insert']
    assert len(insert) == 3
    assert attach(backbone(), insert).attention.spec['insert'] == model.attention.spec['insert']
    assert (
        all(site.name in {e['at'] for e in model.attention.spec['insert']} for site in model.attention.claims)
        and len(sites(backbone())) > 5
    )


def test_a_file_does_not_import_what_it_names(tmp_path, monkeypatch, warnings):
    """Not when a checkpoint's insertion is compared with the model's, nor when an adapter is built."""
    code = 'import pathlib; pathlib.Path(__file__).with_name("marker").touch()\n'
    code += 'from mmattn.blocks import SE as X\n'
    (tmp_path / 'elsewhere.py').write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    state = with_attention().state_dict()
    for name in ('elsewhere', 'elsewhere.X', 'elsewhere.SE'):
        for block in (dict(type=name), dict(type='mmattn.External', module=dict(type=name))):
            spec = read(state)
            spec['insert'][0]['block'] = block
            with_attention().load_state_dict({**state, KEY: encode_spec(spec)}, strict=False)
            assert said(warnings)
            with pytest.raises(
                ValueError, match=f"the block at 'layer1' is a '{name}', .* import its module"
            ):
                rules_of(spec)
    assert not (tmp_path / 'marker').exists()
    import elsewhere  # trusted now

    assert (tmp_path / 'marker').exists() and rules_of(
        spec | dict(insert=[dict(spec['insert'][0], block=dict(type='elsewhere.X'))])
    )
    assert elsewhere.X is SE
