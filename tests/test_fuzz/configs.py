"""Mutated configs: rules, options of blocks and hooks, and every key that mmattn reads."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mmattn import hooks
from mmattn.registry import MODELS
from tests.test_blocks.cases import CASES
from tests.test_fuzz.arena import Arena, Done, metrics_of_test, trained
from tests.test_fuzz.case import DELETED, REFUSED, SAME, TRAINS, Case

# ---------------------------------------------------------------- values that are none
NAN, INF = float('nan'), float('inf')
NOT_A_NUMBER = ['x', '', None, [1], {}, (2, 3), {'type': 'x'}]
NOT_AN_INTEGER = [*NOT_A_NUMBER, 2.5, '2', NAN, True]
NOT_A_BOOL = ['yes', 'False', '', 3, 0.5, None, [], {}]
NOT_TEXT = [3, 2.5, True, [], {}, None]
NOT_A_DICT = [3, 'x', [3], True]


def misspelt(text: str) -> st.SearchStrategy[str]:
    """A name with one letter too many, too few, changed or swapped; never the name itself."""
    places = st.integers(0, len(text) - 1)
    return st.one_of(
        places.map(lambda i: text[:i] + 'q' + text[i:]),
        places.map(lambda i: text[:i] + text[i + 1 :]),
        places.map(lambda i: f'{text[:i]}{text[i].swapcase()}{text[i + 1 :]}'),
        places.map(lambda i: text[:i] + text[i : i + 2][::-1] + text[i + 2 :]),
    ).filter(lambda other: other not in (text, ''))


def case(mutation: str, outcome: str, *changes: tuple[str, Any], says: tuple[str, ...] | None = None) -> Case:
    """A case of a config; the message of a refusal names the last key or the value, if ``says`` is None."""
    if says is None:
        says = tuple(
            {str(key).rpartition('.')[2] for key, _ in changes} | {str(value)[:40] for _, value in changes}
        )
    use = 'test' if any(str(key).startswith('test_') for key, _ in changes) else 'train'
    return Case('configs', mutation, outcome, changes, tuple(filter(None, says)), use)


def refused(mutation: str, key: str, values: st.SearchStrategy | list, says=None) -> st.SearchStrategy[Case]:
    """Cases in which one key has a value that is refused."""
    values = st.sampled_from(values) if isinstance(values, list) else values
    return values.map(lambda value: case(mutation, REFUSED, (key, value), says=says))


def trains(
    mutation: str, key: str, values: st.SearchStrategy | list, outcome=TRAINS
) -> st.SearchStrategy[Case]:
    """Cases in which one key has a value with which training works."""
    values = st.sampled_from(values) if isinstance(values, list) else values
    return values.map(lambda value: case(mutation, outcome, (key, value)))


# ---------------------------------------------------------------- blocks
RULE, BLOCK = 'model.insert.0', 'model.insert.0.block'
GATE = dict(type='tests.test_blocks.cases.Gate')
STARTS = ['paper', 'identity']
NOT_FOR_IMAGES = ('SKConv', 'TemporalAttention')  # the second takes batches of whole clips
BLOCKS = [name for name in CASES if name not in NOT_FOR_IMAGES]
PLAIN = [name for name in BLOCKS if name not in ('Compose', 'External')]


@st.composite
def blocks(draw, names=tuple(BLOCKS), depth=2) -> dict:
    """A block that is right, with options of its own."""
    name = draw(st.sampled_from(list(names)))
    block = dict(type=f'mmattn.{name}')
    if name == 'Compose':
        parts = BLOCKS if depth else PLAIN
        block['blocks'] = draw(st.lists(blocks(tuple(parts), depth - 1), min_size=1, max_size=3))
        block['how'] = 'chain'
    elif name == 'External':
        block.update(module=GATE, channels='width')
    else:
        block.update(
            (option, draw(st.sampled_from(values)))
            for option, values in CASES[name].values.items()
            if draw(st.booleans())
        )
    if draw(st.booleans()):
        block['start'] = draw(st.sampled_from(STARTS))
    return without_starts(block) if block.get('start') == 'identity' else block


def without_starts(block: dict) -> dict:
    """The block, of which no part starts otherwise than itself."""
    for part in block.get('blocks', ()):
        part.pop('start', None)
        without_starts(part)
    return block


def options_of(name: str) -> dict[str, inspect.Parameter]:
    """The options of a block by name, with their annotations."""
    parameters = inspect.signature(MODELS.get(f'mmattn.{name}')).parameters
    return {key: p for key, p in parameters.items() if key not in ('in_channels', 'init_cfg')}


def wrong_values(option: str, parameter: inspect.Parameter) -> list:
    """Values that an option does not take, by its annotation."""
    annotation = str(parameter.annotation)
    if option in ('how', 'form', 'mode', 'combine', 'descriptor', 'pooling_type', 'start', 'by'):
        return ['', 'papers', 'IDENTITY', *NOT_TEXT]
    if option == 'pool_types':
        return [3, None, 'avg', [], ['avg', 'avg'], ['min'], {'avg': 1}]
    if option == 'fusion_types':
        return [3, None, 'channel_add', [], ['channel_sub'], {'channel_add': 1}]
    if annotation.startswith('bool'):
        return NOT_A_BOOL
    wrong = [0, -1, -3] if 'int' in annotation else []
    if annotation.startswith('int'):
        wrong += NOT_AN_INTEGER
    if annotation.startswith('float'):
        wrong += [*NOT_A_NUMBER, NAN, INF, -INF]
        wrong += [0, -1, 1.5] if option == 'ratio' else []
    if 'None' in annotation:
        wrong = [value for value in wrong if value is not None]
    return wrong


@st.composite
def wrong_options(draw) -> Case:
    name = draw(st.sampled_from(PLAIN))
    option = draw(st.sampled_from([key for key, p in options_of(name).items() if wrong_values(key, p)]))
    value = draw(st.sampled_from(wrong_values(option, options_of(name)[option])))
    return case(
        f'an option of a block: {option}',
        REFUSED,
        (BLOCK, {'type': f'mmattn.{name}', option: value}),
        says=(option,),
    )


@st.composite
def misspelt_options(draw) -> Case:
    name = draw(st.sampled_from(PLAIN))
    known = options_of(name)
    option = draw(
        misspelt(draw(st.sampled_from(list(known)))).filter(lambda text: text not in (*known, 'type'))
        | st.sampled_from(['in_channels', 'init_cfg', 'channels', 'name'])
    )
    value = {'type': 'Xavier'} if option == 'init_cfg' else 4
    return case(
        'an unknown option of a block',
        REFUSED,
        (BLOCK, {'type': f'mmattn.{name}', option: value}),
        says=(option,),
    )


@st.composite
def nested(draw, wrong: str) -> Case:
    """A wrong block inside others."""
    bad, says = draw(
        st.sampled_from(
            [
                ({'type': 'mmattn.CBMA'}, ('CBMA',)),
                ({'type': 'mmattn.SE', 'redution': 4}, ('redution',)),
                ({'type': 'mmattn.SE', 'reduction': 0}, ('reduction',)),
                ({'type': 'mmattn.SE', 'start': 'papers'}, ('start',)),
                ({'type': 'mmattn.SKConv', 'out_channels': 8}, ('SKConv',)),
                ({'type': 'mmattn.External', 'module': dict(type='torch.nn.NoSuchLayer')}, ('NoSuchLayer',)),
                (
                    {'type': 'mmattn.External', 'module': dict(type='no_such_package.SE')},
                    ('no_such_package',),
                ),
                ({'type': 'mmattn.External'}, ('module',)),
                ({'type': 'mmattn.External', 'module': GATE}, ('in_channels',)),
                ({'type': 'mmattn.External', 'module': GATE, 'channels': 'widht'}, ('widht',)),
                (
                    {
                        'type': 'mmattn.External',
                        'module': dict(type='torch.nn.Conv2d', out_channels=3, kernel_size=1),
                    },
                    ('Conv2d',),
                ),
                ({'type': 'mmattn.External', 'module': 'torch.nn.Identity'}, ('module',)),
                ({'type': 'torch.nn.Identity'}, ('Identity',)),
                (
                    {
                        'type': 'mmattn.Compose',
                        'start': 'identity',
                        'blocks': [dict(type='mmattn.SE', start='paper')],
                    },
                    ('start',),
                ),
                ({'type': 'mmattn.Compose', 'blocks': []}, ('blocks',)),
                ({'type': 'mmattn.Compose', 'blocks': {}}, ('blocks',)),
                ({'type': 'mmattn.Compose', 'blocks': [3]}, ('blocks',)),
                ({'type': 'mmattn.Compose', 'blocks': [{}]}, ('blocks',)),
                ({'type': 'mmattn.Compose'}, ('blocks',)),
                ({'type': 3}, ('3',)),
                ({'type': None}, ('None', 'type')),
                ({'type': ['mmattn.SE']}, ('mmattn.SE', 'type')),
            ]
        )
    )
    for _ in range(draw(st.integers(1, 3))):
        others = draw(st.lists(blocks(tuple(PLAIN)), max_size=1))
        bad = {'type': 'mmattn.Compose', 'blocks': [*others, bad]}
    return case(wrong, REFUSED, (BLOCK, bad), says=says)


BLOCK_CASES = [
    blocks().map(lambda block: case('a block', TRAINS, (BLOCK, block))),
    wrong_options(),
    misspelt_options(),
    nested('a wrong block in Compose'),
    refused('start of a block', f'{BLOCK}.start', [*NOT_TEXT, '', 'Paper', 'zero']),
    refused(
        'type of a block',
        f'{BLOCK}.type',
        st.sampled_from(BLOCKS).flatmap(misspelt).filter(lambda n: n not in CASES).map('mmattn.{}'.format)
        | st.sampled_from(
            [
                'CBMA',
                '',
                'mmattn.',
                '.',
                'torch.nn.NoSuchLayer',
                'no_such_package.SE',
                'builtins.print',
                'ResNet',
            ]
        )
        | st.sampled_from([None, 3, [], {}, ('mmattn.SE',)]),
        says=('block', 'type', 'registered', 'subclass'),
    ),
    st.just(
        case(
            'a convolution as a block',
            REFUSED,
            (BLOCK, {'type': 'mmattn.SKConv', 'out_channels': 8}),
            says=('SKConv',),
        )
    ),
    refused(
        'a block that is no config', BLOCK, [None, 3, 'mmattn.SE', [], ['mmattn.SE'], {}, {'start': 'paper'}]
    ),
]

# ---------------------------------------------------------------- rules
SITES = [
    'backbone.layer[1-4].*.residual',
    'backbone.layer2.0.residual',
    '**.residual',
    'backbone.layer?.1.residual',
    'backbone.stage[2-4]',
    'neck.lateral.*',
    'neck.topdown.1',
    'neck.output.[0-2]',
    ['neck.output.0', 'backbone.layer4.*.residual'],
    ('backbone.stage4',),
]
NO_SITES = [
    'backbon.layer1.0.residual',
    'Backbone.layer1.0.residual',
    'backbone.layer5.*.residual',
    'backbone.layer[5-9].*.residual',
    'backbone.layer1.*.residuals',
    'backbone..layer1.0.residual',
    '.backbone.layer1.0.residual',
    'backbone.layer1.0.residual.',
    'backbone/layer1/0/residual',
    'backbone.layer[1-4.*.residual',
    'backbone.layer1.7.residual',
    'residual',
    'neck.output.9',
    '*',
    ' ',
    'roi_head.**',
    ['backbone.layer1.*.residual', 'backbone.layer9.*.residual'],
]
SE = dict(type='mmattn.SE', start='identity')


@st.composite
def rules_together(draw) -> Case:
    """Two rules on sites that overlap: with different orders they train, with one they are refused."""
    orders = draw(st.tuples(st.integers(-3, 3), st.integers(-3, 3)))
    rules = [
        dict(at=at, block=SE, order=n) for at, n in zip(['backbone.layer2.*.residual', '**.residual'], orders)
    ]
    outcome = TRAINS if orders[0] != orders[1] else REFUSED
    return case('two rules on a site', outcome, ('model.insert', rules), says=('order',))


def rule_keys() -> st.SearchStrategy[Case]:
    keys = ['at', 'block', 'except_', 'order', 'freeze_with_host']
    unknown = st.sampled_from(keys).flatmap(misspelt).filter(lambda k: k not in (*keys, 'except'))
    more = st.sampled_from(['position', 'where', 'start', 'Except', 'sites', 'type'])
    return (unknown | more).map(
        lambda key: case('an unknown key of a rule', REFUSED, (f'{RULE}.{key}', 'neck.**'), says=(key,))
    )


RULE_CASES = [
    trains('at', f'{RULE}.at', SITES),
    refused('at', f'{RULE}.at', NO_SITES, says=('at=', "'at'")),
    refused(
        'at of another type', f'{RULE}.at', [None, 3, '', [], {}, [3], [''], True, {'x': 1}], says=("'at'",)
    ),
    refused(
        'a rule without at or block', RULE, [{}, {'at': '**.residual'}, {'block': SE}], says=('rule needs',)
    ),
    rule_keys(),
    rules_together(),
    trains('except_', f'{RULE}.except_', ['backbone.layer1.**', ['backbone.layer1.0.residual'], [], ()]),
    refused(
        'except_',
        f'{RULE}.except_',
        ['backbone.layer9.**', '**', 3, None, '', [3], {'x': 1}],
        says=('except_',),
    ),
    trains('order', f'{RULE}.order', [0, -1, 7, 10**12]),
    refused('order', f'{RULE}.order', NOT_AN_INTEGER, says=("'order'",)),
    trains('freeze_with_host', f'{RULE}.freeze_with_host', [True, False]),
    refused('freeze_with_host', f'{RULE}.freeze_with_host', NOT_A_BOOL, says=("'freeze_with_host'",)),
    refused(
        'insert',
        'model.insert',
        [None, [], (), {}, 3, 'x', [3], [None], ['x'], [[]], DELETED],
        says=('rule', 'insert'),
    ),
    st.just(case('insert is one rule', TRAINS, ('model.insert', dict(at='**.residual', block=SE)))),
    refused(
        'detector',
        'model.detector',
        [None, 3, '', 'RetinaNte', 'mmattn.WithAttention', [], {}, DELETED],
        says=('detector', 'RetinaNte', "''"),
    ),
    trains('freeze_detector', 'model.freeze_detector', [True, False]),
    refused('freeze_detector', 'model.freeze_detector', NOT_A_BOOL),
    refused(
        'type of the model',
        'model.type',
        ['mmattn.WithAttentoin', 'WithAttention', '', None, 3, [], DELETED],
        says=('type', 'attent'),
    ),
    refused('an unknown key of the model', 'model.inserts', [[], 3], says=('inserts',)),
    refused('model', 'model', [*NOT_A_DICT, None, {}, DELETED], says=('model',)),
]

# ---------------------------------------------------------------- hooks
HOOKS: dict[str, dict[str, tuple[list, list]]] = {
    # Option: values that work, values that do not.
    'AdapterHook': dict(
        interval=([1, 2, -1], [0, -2, *NOT_AN_INTEGER]),
        by_epoch=([True, False], NOT_A_BOOL),
        out_dir=([None, 'adapters'], [3, [], {}, True]),
        save_last=([True, False], NOT_A_BOOL),
    ),
    'AttentionMapHook': {
        'pictures': (
            [1, [0], [0, 1], (1,)],
            [0, -1, [], [2], [-1], [True], *[v for v in NOT_AN_INTEGER if v not in ([1], (2, 3))]],
        ),
        'sites': ([None, [], ['**.residual']], ['x', ['neck.nothing'], 3, [3], {'x': 1}]),
        'score_thr': ([0.0, 0.3, 1], ['x', None, [1], {}, NAN, -1, 2]),
        'dpi': ([30], [0, -1, 'x', None, [1], {}, NAN]),
        'backend_args': ([None], ['x', 3, [3]]),
    },
    'AttentionStatsHook': dict(
        interval=([1, 50], [0, -1, *NOT_AN_INTEGER]),
        warn_share=([0.5, 1], [0, -1, 1.5, NAN, True, *NOT_A_NUMBER]),
        patience=([1, 7], [0, -1, *NOT_AN_INTEGER]),
    ),
    'ExactResumeHook': dict(strict=([True, False], NOT_A_BOOL)),
    'CheckDataHook': {},
    'CheckInsertionHook': {},
    'RefuseCodeHook': {},
}
FROZEN = ('model.freeze_detector', True)  # which AdapterHook needs


@st.composite
def hook(draw, good: bool) -> Case:
    name = draw(st.sampled_from([each for each in HOOKS if good or HOOKS[each]]))
    options = HOOKS[name]
    chosen = {key: draw(st.sampled_from(values[0])) for key, values in options.items() if draw(st.booleans())}
    outcome, says = TRAINS, ()
    if not good:
        key = draw(st.sampled_from(list(options)))
        value = draw(st.sampled_from(options[key][1]))
        outcome, says = REFUSED, (key,)
        chosen[key] = value
    changes = [('custom_hooks', [dict(type=f'mmattn.{name}', **chosen)])]
    changes += [FROZEN] if name == 'AdapterHook' else []
    return case(f'{name}{"" if good else ": " + key}', outcome, *changes, says=says)


@st.composite
def unknown_hooks(draw) -> Case:
    name = draw(st.sampled_from(list(HOOKS)))
    if draw(st.booleans()):
        wrong = draw(misspelt(name))
        changes = [('custom_hooks', [dict(type=f'mmattn.{wrong}')])]
        return case('a misspelt hook', REFUSED, *changes, says=(wrong,))
    wrong = draw(st.sampled_from(['intervall', 'strickt', 'x']))
    return case(
        'an unknown option of a hook',
        REFUSED,
        ('custom_hooks', [{'type': f'mmattn.{name}', wrong: 1}]),
        FROZEN,
        says=(wrong, f'{name}() takes no arguments'),
    )


CHECKPOINT = 'default_hooks.checkpoint'
HOOK_CASES = [
    hook(True),
    hook(False),
    hook(False),
    unknown_hooks(),
    st.just(case('AdapterHook of a detector that trains', REFUSED,
        ('custom_hooks', [dict(type='mmattn.AdapterHook')]), says=('freeze_detector',))),
    trains('custom_hooks', 'custom_hooks', [None, [], ()]),
    refused('custom_hooks', 'custom_hooks',
        ['x', 3, [3], [None], ['mmattn.AdapterHook'], [{}], [{'type': 3}], {'type': 'mmattn.CheckDataHook'},
        True], says=('hook',)),
    trains('checkpoint hook', CHECKPOINT, [dict(type='mmattn.CheckpointHook', by_epoch=False, interval=1),
        dict(type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1, save_best='auto')]),
    refused('checkpoint hook', CHECKPOINT,
        [3, 'x', [3], {'type': 'mmattn.CheckpointHok'}, {'type': 'CheckpointHook', 'intervall': 1}],
        says=('checkpoint', 'intervall')),
    refused('default_hooks', 'default_hooks', ['x', 3, [3], {'checkpoint': {'type': 3}}],
        says=('default_hooks', 'checkpoint', 'type')),
]  # fmt: skip

# ---------------------------------------------------------------- other keys that mmattn reads
DATASET = 'train_dataloader.dataset'


def evaluator(key: str, values: list, says: tuple[str, ...]) -> st.SearchStrategy[Case]:
    parts = st.sampled_from(['val', 'test'])
    return parts.flatmap(lambda part: refused(f'evaluator{key}', f'{part}_evaluator{key}', values, says))


def either_part(key: str) -> st.SearchStrategy[str]:
    return st.sampled_from(['train', 'val', 'test']).map(f'{{}}_dataloader.{key}'.format)


@st.composite
def data_keys(draw) -> Case:
    """Keys of a data set with values that cannot be meant."""
    key, values, says = draw(
        st.sampled_from(
            [
                ('ann_file', ['', 'annotations', 'nothing.json', None, 3, [], {}, DELETED,
                    ['annotations/train.json']], ('ann_file',)),
                ('data_root', ['/nowhere', 3, [], {'x': 1}], ('ann_file', 'data_root')),
                ('data_prefix', ['images/', 3, ['images/'], {'img': 3}, {'img': 'nowhere/'}, {'img': None}],
                    ('data_prefix', 'image folder', 'images')),
                ('metainfo', [3, 'x', ['bright', 'dark'], {'classes': 'bright'}, {'classes': 3},
                    {'classes': ['bright', 'dark', 'grey']}, {'classes': ['bright']},
                    {'classes': ['bright', 'bright']}, {'classes': [1, 2]}, {'classes': ['Bright', 'dark']},
                    {'classes': None}, {'classes': []}, {'classes': {}}, {}], ('class', 'metainfo')),
                ('type', ['CocoDatasett', 'mmattn.CocoDataset', '', None, 3, [], {}, DELETED],
                    ('type', 'dataset')),
                ('pipeline', [3, 'x', [3], [None], {'type': 'x'}, [{'type': 'mmattn.LoadImageFromFil'}],
                    [{}], ['x']], ('pipeline', 'type', 'LoadImageFromFil')),
            ]
        )
    )  # fmt: skip
    place = draw(either_part('dataset'))
    value = draw(st.sampled_from(values))
    return case(f'dataset.{key}', REFUSED, (f'{place}.{key}', value), says=says)


IMAGE_LOADER = f'{DATASET}.pipeline.0'
OTHER_CASES = [
    data_keys(),
    data_keys(),
    refused('loader of images', f'{IMAGE_LOADER}',
        [{'type': 'mmattn.LoadImageFromFile', 'colour': 'x'}, {'type': 'mmattn.LoadImage'}, {'type': 3}],
        says=('colour', 'LoadImage', 'type')),
    refused('loader of images: color_type', f'{IMAGE_LOADER}.color_type', ['colour', None, [], '', True],
        says=('color_type', 'flag')),
    refused('loader of images: imdecode_backend', f'{IMAGE_LOADER}.imdecode_backend', ['cv3', 3, [], ''],
        says=('backend',)),
    either_part('dataset').flatmap(lambda place: refused('dataset', place, [None, *NOT_A_DICT, [], DELETED],
        says=('dataset',))),
    st.sampled_from(['train', 'val', 'test']).flatmap(lambda part: refused('dataloader', f'{part}_dataloader',
        [None, *NOT_A_DICT, [], {}, DELETED], says=('dataloader', 'val_', 'test_'))),
    refused('batch_size', 'train_dataloader.batch_size', [0, -1, *NOT_AN_INTEGER],
        says=('batch_size', 'batch size')),
    refused('num_workers', 'train_dataloader.num_workers', [-1, 2.5, 'x', None, [], {}],
        says=('num_workers',)),
    trains('exact_resume', 'exact_resume', [True, False]),
    refused('exact_resume', 'exact_resume', NOT_A_BOOL),
    trains('parse_large_ann_files', 'parse_large_ann_files', [True, False], SAME),
    refused('parse_large_ann_files', 'parse_large_ann_files', NOT_A_BOOL),
    trains('load_from', 'load_from', [None, DELETED], SAME),
    refused('load_from', 'load_from', ['nothing.pth', '.', '', 3, ['x'], {'x': 1}, True, 'nowhere://a.pth'],
        says=('load_from', 'checkpoint')),
    trains('resume', 'resume', [False, None, True], SAME),
    refused('resume', 'resume', ['yes', 3, 'nothing.pth', [1]], says=('resume',)),
    refused('work_dir', 'work_dir', [3, ['x'], {'x': 1}, True], says=('work_dir', 'work-dir')),
    evaluator('.ann_file', ['nothing.json', '.', 3, [], {}, ['x']],
        says=('ann_file',)),
    evaluator('',
        [3, 'x', [3], {}, {'type': 'CocoMetrics'}, [{'type': 3}], None, DELETED],
        says=('evaluator', 'metric', 'val_', 'test_', 'type')),
    evaluator('.metric', ['box', 3, [3], {}, ['bbox', 'x']],
        says=('metric',)),
    refused('optim_wrapper', 'optim_wrapper',
        [3, 'x', [], {}, {'type': 'OptimWraper'}, {'type': 'OptimWrapper'}, None, DELETED], says=('optim',)),
    refused('optimizer', 'optim_wrapper.optimizer',
        [None, *NOT_A_DICT, {}, {'type': 'AdmaW'}, {'type': 'AdamW', 'learning_rate': 1}],
        says=('optim', 'AdmaW', 'learning_rate')),
    refused('learning rate', 'optim_wrapper.optimizer.lr', ['x', -1, None, [1], {}],
        says=('lr', 'learning rate')),
    refused('accumulative_counts', 'optim_wrapper.accumulative_counts', [0, -1, 2.5, 'x', None, []],
        says=('accumulative_counts',)),
    refused('train_cfg', 'train_cfg', [3, 'x', [3], {}, None, DELETED,
        {'type': 'IterBasedTrainLop', 'max_iters': 1}, {'type': 'IterBasedTrainLoop'},
        {'type': 'IterBasedTrainLoop', 'maxiters': 1}],
        says=('train_cfg', 'TrainLop', 'max_iters', 'maxiters', 'loop')),
    refused('max_iters', 'train_cfg.max_iters', [0, -1, *NOT_AN_INTEGER], says=('max_iters',)),
    refused('val_interval', 'train_cfg.val_interval', [0, -1, 'x', None, []], says=('val_interval',)),
    refused('randomness', 'randomness', [3, 'x', [3], {'sed': 1}, {'seed': 'x'}, {'seed': -1}, {'seed': 2.5},
        {'seed': 2**40}], says=('randomness', 'sed')),
    refused('env_cfg', 'env_cfg', [3, 'x', [3]], says=('env_cfg',)),
    refused('param_scheduler', 'param_scheduler',
        [3, 'x', [3], [{}], {'type': 'LinaerLR'}, [{'type': 'LinearLR', 'x': 1}]],
        says=('param_scheduler', 'LinaerLR', 'LinearLR', 'LinearParamScheduler', 'type')),
    refused('runner_type', 'runner_type', [3, 'x', [], None, 'Runer'], says=('runner_type', 'runner')),
    refused('default_scope', 'default_scope', [3, [], {}], says=('scope',)),
    refused('num_classes', 'model.bbox_head.num_classes', [1, 3, 80, 0, -1, '2', None, 2.5, []],
        says=('num_classes',)),
    refused('log_level', 'log_level', ['LOUD', [], {}], says=('log_level', 'level')),
]  # fmt: skip

# ---------------------------------------------------------------- the command line
OPTION_CASES = [
    st.sampled_from(
        [
            (['--cfg-options', 'model'], ('model',)),
            (['--cfg-options', '=3'], ('=3', 'key')),
            (['--cfg-options', 'model.insert.9.at=x'], ('9', 'insert')),
            (['--cfg-options', 'model.insert.-5.at=x'], ('insert', '-5')),
            (['--cfg-options', 'model.insert.x.at=3'], ('insert', 'x')),
            (['--cfg-options', 'model.insert=3'], ('insert', 'rule')),
            (['--cfg-options', 'model.insert.0=3'], ('rule', 'insert')),
            (['--cfg-options', 'model.insert.0.at.x=3'], ('at',)),
            (['--cfg-options', 'model.insert.0.block.start.x=3'], ('start',)),
            (['--cfg-options', 'model.insert.0.order=first'], ('order',)),
            (['--cfg-options', 'model.insert.0.block.reduction=[1,2'], ('reduction', '[1,2')),
            (['--cfg-options', 'model..insert=3'], ('model', 'insert')),
            (['--cfg-options', 'train_dataloader=3'], ('dataloader',)),
            (['--amp'], ('amp',)),
            (['--auto-scale-lr', '--cfg-options', 'auto_scale_lr=3'], ('auto_scale_lr', 'auto-scale-lr')),
            (['--auto-scale-lr', '--cfg-options', 'auto_scale_lr.base_batch_size=x'], ('base_batch_size',)),
            (['--auto-scale-lr', '--cfg-options', 'auto_scale_lr.base_batch_size=0'], ('base_batch_size',)),
            (['--data-root', 'nowhere'], ('nowhere',)),
            (['--data-root', 'input.py'], ('input.py',)),
            (['--resume', ''], ('resume',)),
            (['--resume', '.'], ('resume',)),
            (['--launcher', 'mpi'], ('MPI', 'launcher', 'OMPI')),
            (['--launcher', 'pytorch'], ('launcher', 'torchrun', 'RANK')),
            (['--local-rank', 'x'], ('local-rank', 'local_rank')),
            (['another.py'], ('another.py',)),
            (['--work-dir', 'input.py'], ('work-dir',)),
        ]
    ).map(lambda pair: Case('configs', 'options', REFUSED, tuple(pair[0]), pair[1])),
    st.sampled_from(
        [
            ['--resume'],
            ['--auto-scale-lr'],
            ['--trust-checkpoint'],
            ['--drop-bad-images'],
            ['--local-rank', '0'],
            ['--cfg-options', 'model.insert.0.block.type=mmattn.SE', 'model.insert.0.at=neck.output.*'],
        ]
    ).map(lambda arguments: Case('configs', 'options', TRAINS, tuple(arguments))),
]

CASE = st.one_of(
    st.one_of(BLOCK_CASES),
    st.one_of(RULE_CASES),
    st.one_of(HOOK_CASES),
    st.one_of(OTHER_CASES),
    st.one_of(OPTION_CASES),
)


def apply(arena: Arena, case: Case, folder: Path) -> tuple[str, list]:
    """Write the mutated config; return the tool that it is given to, and its arguments."""
    config = copy.deepcopy(arena.config)
    options = []
    if case.mutation == 'options':
        options = list(case.change)
    else:
        for key, value in case.change:
            replace(config, key, value)
    path = arena.write_config(folder / 'input.py', config)
    if 'work_dir' not in config and '--work-dir' not in options:
        options = ['--work-dir', folder / 'work', *options]
    if case.use == 'test':
        return 'test.py', [path, arena.folder / 'detector.pth', *options]
    return 'train.py', [path, *options]


def replace(node: Any, key: str, value: Any) -> None:
    """Set or delete what a dotted key names."""
    first, _, rest = key.partition('.')
    place = int(first) if isinstance(node, list) else first
    if rest:
        replace(node[place] if isinstance(node, list) else node.setdefault(place, {}), rest, value)
    elif value is DELETED:
        node.pop(place, None)
    else:
        node[place] = copy.deepcopy(value)


def result(folder: Path, case: Case, done: Done) -> dict | str:
    return metrics_of_test(folder / 'work') if case.use == 'test' else trained(folder / 'work')


def baseline(arena: Arena, case: Case) -> dict | str:
    """The losses of the unchanged config."""
    if 'config' not in arena.baselines:
        folder = arena.case_folder()
        done = arena.run('train.py', *apply(arena, Case('configs', 'none', SAME, ()), folder)[1], cwd=folder)
        arena.baselines['config'] = result(folder, case, done)
    return arena.baselines['config']


assert set(HOOKS) | {'CheckpointHook'} == set(hooks.__all__), 'give each hook of ours its options here'
