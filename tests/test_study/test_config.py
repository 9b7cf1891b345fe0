"""A study is read and checked whole before its first run."""

import pytest

from mmattn.blocks import Capacity, StaticGate
from mmattn.study.config import read_study
from tests.test_study.studies import SE, SITES


def inserted(variant):
    return [rule['block']['type'] for rule in variant.config.model.get('insert', [])]


def test_a_variant_changes_the_base_and_nothing_else(a_study):
    study = read_study(a_study(settings="{'optim_wrapper.optimizer.lr': 0.5}", metrics="['AP50']"))
    assert (study.name, study.control, study.seeds, study.metrics) == ('study', 'plain', (0, 1), ('AP50',))
    plain, se = study.variants
    assert (plain.name, plain.role, plain.attention) == ('plain', 'plain', 0)
    assert (se.name, se.role, inserted(se)) == ('se', 'variant', ['mmattn.SE'])
    assert se.attention > 0 and se.parameters == plain.parameters + se.attention
    assert plain.config.optim_wrapper.optimizer.lr == se.config.optim_wrapper.optimizer.lr == 0.5
    one, other = plain.config.to_dict(), se.config.to_dict()
    assert (one['model'].pop('type'), other['model'].pop('type')) == ('RetinaNet', 'mmattn.WithAttention')
    del other['model']['insert'], other['model']['detector']
    assert one == other


def test_any_change_of_the_config_is_a_variant(a_study, base):
    (base.parent / 'other.py').write_text("_base_ = './base.py'\nmodel = dict(neck=dict(num_outs=4))\n")
    variants = f"""dict(
        more={{'model.neck.num_outs': 6}},
        nested=dict(optim_wrapper=dict(optimizer=dict(_delete_=True, type='SGD', lr=0.1))),
        other=dict(base={str(base.parent / 'other.py')!r}),
    )"""
    study = read_study(a_study(variants=variants, controls='[]', control="'more'"))
    more, nested, other = study.variants
    assert (more.name, more.config.model.neck.num_outs) == ('more', 6)
    assert nested.config.optim_wrapper.optimizer == dict(type='SGD', lr=0.1)
    assert other.config.model.neck.num_outs == 4


def test_plain_is_without_the_attention_of_the_base(a_study, tmp_path):
    path = a_study(base="'with.py'", variants='dict(same=dict())')
    (tmp_path / 'with.py').write_text(f"_base_ = './base.py'\nmodel = dict(type='mmattn.WithAttention', "
                                      f"detector='RetinaNet', {SE[5:]}\n")  # fmt: skip
    plain, same = read_study(path).variants
    assert plain.attention == 0 < same.attention


def test_plain_of_a_pruned_detector_keeps_its_widths(a_study, tmp_path):
    rule = f"dict(at='{SITES}', block=dict(type='mmattn.SE', reduction=4))"
    (tmp_path / 'pruned.py').write_text(
        "_base_ = './base.py'\n"
        f"model = dict(type='mmattn.WithAttention', detector='RetinaNet', insert=[{rule}], widths={{\n"
        "'backbone.layer4.0.conv1': [40, 32], 'backbone.layer4.0.bn1': 40,\n"
        "'backbone.layer4.0.conv2': [64, 40], 'attention.backbone_layer4_0_residual': 64})\n"
    )
    study = read_study(a_study(base="'pruned.py'", variants='dict(more=dict())', controls="['plain']"))
    plain = next(variant for variant in study.variants if variant.name == 'plain')
    assert plain.attention == 0 and plain.config.model.type == 'mmattn.Pruned'
    assert list(plain.config.model.widths) == [
        f'backbone.layer4.0.{part}' for part in ('conv1', 'bn1', 'conv2')
    ]


def test_controls_take_the_sites_of_the_variants(a_study):
    variants = f"""dict(
        se={SE},
        wide=dict(insert=[dict(at='{SITES}', block=dict(type='mmattn.SE', reduction=2))]),
        eca=dict(insert=[dict(at='{SITES}', block=dict(type='mmattn.ECA'))]),
    )"""
    study = read_study(a_study(variants=variants, controls="['plain', 'static_gate', 'capacity']"))
    by_name = {each.name: each for each in study.variants}
    assert list(by_name) == ['plain', 'static_gate', 'capacity_se', 'capacity_wide', 'se', 'wide', 'eca']
    assert by_name['static_gate'].of == ('se', 'wide', 'eca')
    assert by_name['capacity_se'].of == ('se',)
    # SE with biases is matched to the last parameter
    assert by_name['capacity_se'].attention == by_name['se'].attention
    assert by_name['capacity_wide'].attention == by_name['wide'].attention > by_name['se'].attention
    (note,) = study.notes
    assert note.startswith(
        'There is no capacity control of eca: its ECA at backbone.layer3.0.residual has 3 '
    )
    smallest = Capacity.size(32, 1)
    assert note.endswith(f'parameters, and the smallest bottleneck of 32 channels has {smallest}.')


def test_a_control_of_one_variant(a_study):
    study = read_study(a_study(controls="['plain', dict(type='capacity', of='se')]"))
    assert [each.name for each in study.variants] == ['plain', 'capacity', 'se']


def test_a_control_is_built_at_the_sites(a_study):
    from mmattn.study.variant_config import build_detector

    study = read_study(a_study(controls="['plain', 'static_gate', 'capacity']"))
    models = {each.name: build_detector(each.config) for each in study.variants}
    sites = {name: list(getattr(model, 'attention', {})) for name, model in models.items()}
    assert sites['se'] == sites['static_gate'] == sites['capacity'] and len(sites['se']) == 4
    assert all(isinstance(block, StaticGate) for block in models['static_gate'].attention.values())
    assert all(isinstance(block, Capacity) for block in models['capacity'].attention.values())


def test_the_last_checkpoint_is_enough(a_study):
    hooks = [each.config.default_hooks.checkpoint for each in read_study(a_study()).variants]
    assert [hook.max_keep_ckpts for hook in hooks] == [1, 1]
    given = a_study(settings="{'default_hooks.checkpoint.max_keep_ckpts': 3}")
    assert read_study(given).variants[0].config.default_hooks.checkpoint.max_keep_ckpts == 3


BAD = {
    'none': (dict(variants='{}'), 'variants is a dict of changes by name; got {}'),
    'list': (dict(variants='dict(a=[1])'), "the variant 'a' is a dict of changes of the config; got .1."),
    'name': (dict(variants="{'a/b': {}}"), "the variant 'a/b' would be a folder: letters, digits"),
    'seeds': (dict(seeds='3'), r'seeds is a list of whole numbers from 0, such as .*; got 3'),
    'twice': (dict(seeds='[1, 1]'), r'seeds has a number twice: \[1, 1\]'),
    'negative': (dict(seeds='[-1]'), r'seeds is a list of whole numbers from 0.*; got \[-1\]'),
    'control': (dict(control="'none'"), "control='none' is what .* none of the variants .*: plain, se"),
    'controls': (dict(controls="['static']"), "controls has 'static'; possible: 'plain', 'static_gate'"),
    'of': (dict(controls="[dict(type='capacity', of='cbam')]"), "with of= has 'cbam'; possible: 'se'"),
    'metrics': (dict(metrics="['mAP']"), "metrics has 'mAP'; possible: 'AP', 'AP50'"),
    'keep': (dict(keep_detections="'some'"), "keep_detections has 'some'; possible: 'last', 'all'"),
    'mistyped': (dict(varients='{}'), "has 'varients', which is close to 'variants'"),
    'base': (dict(base="'nowhere.py'"), r"the control 'plain' cannot be built|no config file '.*nowhere.py'"),
    'name taken': (dict(variants='dict(plain=dict())'), "'plain' is that of a control and of a variant"),
    'no sites': (
        dict(variants='dict(a=dict())', controls="['plain', 'capacity']"),
        "controls has 'capacity', and no variant inserts attention",
    ),
    'evaluator': (
        dict(settings="dict(val_evaluator=dict(type='VOCMetric'))"),
        'evaluates with VOCMetric: a study compares detections in COCO',
    ),
}  # fmt: skip


@pytest.mark.parametrize('settings, text', BAD.values(), ids=BAD.keys())
def test_a_mistake_is_named(a_study, settings, text):
    with pytest.raises((ValueError, KeyError, FileNotFoundError), match=text) as error:
        read_study(a_study(**settings))
    assert error.value.mistake_text


def test_a_variant_that_does_not_build_is_named(a_study):
    block = f"dict(insert=[dict(at='{SITES}', block=dict(type='mmattn.SE', reductoin=4))])"
    with pytest.raises(TypeError, match="did you mean 'reduction'") as error:
        read_study(a_study(variants=f'dict(good={SE}, bad={block})'))
    assert error.value.mistake_text.startswith("the variant 'bad' cannot be built: ")


def test_missing_weights_and_data_are_found_before_the_first_run(a_study):
    init = "dict(_delete_=True, type='Pretrained', checkpoint='none.pth')"
    with pytest.raises(FileNotFoundError, match="no file 'none.pth' with pretrained weights") as error:
        read_study(a_study(variants=f'dict(a=dict(model=dict(backbone=dict(init_cfg={init}))))'))
    assert error.value.mistake_text.startswith("the variant 'a': ")
    with pytest.raises(FileNotFoundError, match='none.json'):
        read_study(a_study(settings="{'train_dataloader.dataset.ann_file': 'none.json'}"))


def test_options_of_the_command_line_change_the_study(a_study):
    assert read_study(a_study(), None, {'seeds': [7]}).seeds == (7,)
    with pytest.raises(FileNotFoundError, match="no study config 'no.py'"):
        read_study('no.py')
