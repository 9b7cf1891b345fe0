"""The key tables of public checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.checkpoints.convert.key_table import KeyTable, RefusedLayout, Rule

VERSION = 1
"""Rises with each change of a table; converted files record it."""

_NORM = r'(weight|bias|running_mean|running_var|num_batches_tracked)'
_UNIT = r'(layer\d+\.\d+)'
_CLASSIFIER = 'the classifier'


def _as_convolution(value: Tensor) -> Tensor:
    return value[:, :, None, None] if value.dim() == 2 else value


# torchvision's names, which are MMDetection's too.
_STEM = (Rule(r'conv1\.weight', r'conv1.weight'), Rule(rf'bn1\.{_NORM}', r'bn1.\1'))
_DEEP_STEM = (
    Rule(r'conv1\.([036])\.weight', r'stem.\1.weight'),
    Rule(rf'conv1\.([14])\.{_NORM}', r'stem.\1.\2'),
    Rule(rf'bn1\.{_NORM}', r'stem.7.\1'),
)
_UNITS = (
    Rule(rf'{_UNIT}\.conv([123])\.weight', r'\1.conv\2.weight'),
    Rule(rf'{_UNIT}\.bn([123])\.{_NORM}', r'\1.bn\2.\3'),
)
_SHORTCUTS = (Rule(rf'{_UNIT}\.downsample\.([012])\.{_NORM}', r'\1.downsample.\2.\3'),)
_FC = ((r'fc\.(weight|bias)', _CLASSIFIER),)

_TIMM_BLOCKS = (
    Rule(rf'{_UNIT}\.se\.fc([12])\.(weight|bias)', r'\1.@SE.fc\2.\3'),
    Rule(rf'{_UNIT}\.se\.conv\.weight', r'\1.@ECA.conv.weight'),
)


# A norm divides by sqrt(running_var + eps), with eps=1e-5 here. Of the pairs of fp32 numbers near 1, this
# is one whose quotient is 1 to eleven digits.
_IDLE_WEIGHT = 1 + 10397 / 2**23
_IDLE_VARIANCE = _IDLE_WEIGHT**2 - 1e-5


def _with_idle_norms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the norm that MMDetection puts after an SKConv, so that it changes nothing: the paper has none.

    The ReLU after it changes nothing either, since the sum of the branches is not negative.
    """
    added = {}
    for key, value in state.items():
        if key.endswith('.conv2.paths.0.bn.weight'):
            norm = key.removesuffix('conv2.paths.0.bn.weight') + 'bn2.'
            like = torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
            added |= {norm + 'weight': like + _IDLE_WEIGHT, norm + 'bias': like}
            added |= {norm + 'running_mean': like.clone(), norm + 'running_var': like + _IDLE_VARIANCE}
            added[norm + 'num_batches_tracked'] = torch.tensor(0)
    return state | added


TIMM = KeyTable(
    'timm ResNet with SE or ECA',
    ('timm',),
    (r'conv1\.weight', rf'{_UNIT}\.se\.(fc1|conv)\.weight'),
    _STEM + _UNITS + _SHORTCUTS + _TIMM_BLOCKS,
    _FC,
)
TIMM_DEEP = KeyTable(
    'timm ResNet with a deep stem and SE or ECA',
    ('timm',),
    (r'conv1\.0\.weight', rf'{_UNIT}\.se\.(fc1|conv)\.weight'),
    _DEEP_STEM + _UNITS + _SHORTCUTS + _TIMM_BLOCKS,
    _FC,
)
TIMM_SK = KeyTable(
    'timm ResNeXt with selective kernels',
    ('timm',),
    (rf'{_UNIT}\.conv2\.paths\.0\.conv\.weight', rf'{_UNIT}\.conv2\.attn\.fc_reduce\.weight'),
    (
        *_STEM,
        *_SHORTCUTS,
        Rule(rf'{_UNIT}\.conv([13])\.conv\.weight', r'\1.conv\2.weight'),
        Rule(rf'{_UNIT}\.conv([13])\.bn\.{_NORM}', r'\1.bn\2.\3'),
        Rule(rf'{_UNIT}\.conv2\.paths\.(\d)\.conv\.weight', r'\1.conv2.paths.\2.conv.weight'),
        Rule(rf'{_UNIT}\.conv2\.paths\.(\d)\.bn\.{_NORM}', r'\1.conv2.paths.\2.bn.\3'),
        Rule(rf'{_UNIT}\.conv2\.attn\.fc_(reduce|select)\.weight', r'\1.conv2.attn.fc_\2.weight'),
        Rule(rf'{_UNIT}\.conv2\.attn\.bn\.{_NORM}', r'\1.conv2.attn.bn.\2'),
    ),
    _FC,
    fill=_with_idle_norms,
)
_PLAIN = _STEM + _UNITS + _SHORTCUTS
ECANET = KeyTable(
    'the official ECA-Net',
    ('official',),
    (r'conv1\.weight', rf'{_UNIT}\.eca\.conv\.weight'),
    (*_PLAIN, Rule(rf'{_UNIT}\.eca\.conv\.weight', r'\1.@ECA.conv.weight')),
    _FC,
)
CBAM = KeyTable(
    'the official CBAM',
    ('official', 'pytorchinsight'),
    (r'conv1\.weight', rf'{_UNIT}\.cbam\.ChannelGate\.mlp\.1\.weight'),
    (*_PLAIN, Rule(rf'{_UNIT}\.cbam\.((ChannelGate|SpatialGate)\..+)', r'\1.@CBAM.\2')),
    _FC,
)
BAM = KeyTable(
    'the official BAM',
    ('official', 'pytorchinsight'),
    (r'conv1\.weight', r'bam1\.channel_att\.gate_c\.gate_c_fc_0\.weight'),
    (*_PLAIN, Rule(r'bam([123])\.((channel_att|spatial_att)\..+)', r'layer\1.@BAM.\2')),
    _FC,
)
INSIGHT_SE = KeyTable(
    "PytorchInsight's SE",
    ('pytorchinsight',),
    (r'conv1\.weight', rf'{_UNIT}\.se\.fc\.0\.weight'),
    (
        *_PLAIN,
        Rule(rf'{_UNIT}\.se\.fc\.0\.(weight|bias)', r'\1.@SE.fc1.\2', _as_convolution),
        Rule(rf'{_UNIT}\.se\.fc\.2\.(weight|bias)', r'\1.@SE.fc2.\2', _as_convolution),
    ),
    _FC,
)
INSIGHT_SGE = KeyTable(
    "PytorchInsight's SGE",
    ('pytorchinsight',),
    (r'conv1\.weight', rf'{_UNIT}\.sge\.weight'),
    (*_PLAIN, Rule(rf'{_UNIT}\.sge\.(weight|bias)', r'\1.@SGE.\2')),
    _FC,
)


def _inside(prefix: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(Rule(prefix + rule.theirs, rule.ours, rule.change) for rule in rules)


MMPRETRAIN = KeyTable(
    "MMPretrain's SE-ResNet",
    ('mmpretrain',),
    (r'backbone\.conv1\.weight', rf'backbone\.{_UNIT}\.se_layer\.conv1\.conv\.weight'),
    _inside(
        r'backbone\.',
        (
            *_PLAIN,
            Rule(rf'{_UNIT}\.se_layer\.conv([12])\.conv\.(weight|bias)', r'\1.@SE.fc\2.\3'),
        ),
    ),
    ((r'head\.fc\.(weight|bias)', _CLASSIFIER), (r'data_preprocessor\..*', 'the input statistics')),
)

# pytorchcv counts stages and units from one.
_CV_UNIT = r'features\.stage(\d)\.unit(\d+)'
_CV_OURS = r'layer\1.<\2-1>'
_CV_OUTPUT = ((r'output\.(weight|bias)', _CLASSIFIER),)


def _pytorchcv_rules(unit: str) -> tuple[Rule, ...]:
    return (
        Rule(r'features\.init_block\.conv\.conv\.weight', r'conv1.weight'),
        Rule(rf'features\.init_block\.conv\.bn\.{_NORM}', r'bn1.\1'),
        Rule(rf'{unit}\.body\.conv([123])\.conv\.weight', _CV_OURS + r'.conv\3.weight'),
        Rule(rf'{unit}\.body\.conv([123])\.bn\.{_NORM}', _CV_OURS + r'.bn\3.\4'),
        Rule(rf'{unit}\.identity_conv\.conv\.weight', _CV_OURS + r'.downsample.0.weight'),
        Rule(rf'{unit}\.identity_conv\.bn\.{_NORM}', _CV_OURS + r'.downsample.1.\3'),
    )


PYTORCHCV_SE = KeyTable(
    "pytorchcv's SE-ResNet",
    ('pytorchcv',),
    (rf'{_CV_UNIT}\.se\.conv1\.weight',),
    (
        *_pytorchcv_rules(_CV_UNIT),
        Rule(rf'{_CV_UNIT}\.se\.conv([12])\.(weight|bias)', _CV_OURS + r'.@SE.fc\3.\4'),
    ),
    _CV_OUTPUT,
)
_CHANNEL, _SPATIAL = '.@CBAM.ChannelGate.mlp.', '.@CBAM.SpatialGate.spatial.'
PYTORCHCV_CBAM = KeyTable(
    "pytorchcv's CBAM-ResNet",
    ('pytorchcv',),
    (rf'{_CV_UNIT}\.cbam\.ch_gate\.mlp\.fc1\.weight',),
    (
        *_pytorchcv_rules(_CV_UNIT),
        Rule(rf'{_CV_UNIT}\.cbam\.ch_gate\.mlp\.fc1\.(weight|bias)', rf'{_CV_OURS}{_CHANNEL}1.\3'),
        Rule(rf'{_CV_UNIT}\.cbam\.ch_gate\.mlp\.fc2\.(weight|bias)', rf'{_CV_OURS}{_CHANNEL}3.\3'),
        Rule(rf'{_CV_UNIT}\.cbam\.sp_gate\.conv\.conv\.weight', rf'{_CV_OURS}{_SPATIAL}conv.weight'),
        Rule(rf'{_CV_UNIT}\.cbam\.sp_gate\.conv\.bn\.{_NORM}', rf'{_CV_OURS}{_SPATIAL}bn.\3'),
    ),
    _CV_OUTPUT,
)
# Its BAM begins the next stage; ours ends the stage before.
_CV_BAM = r'features\.stage(\d)\.unit1\.bam'
_GATE_C, _GATE_S = (
    r'layer<\1-1>.@BAM.channel_att.gate_c.gate_c_',
    r'layer<\1-1>.@BAM.spatial_att.gate_s.gate_s_',
)
_CV_DILATED = rf'{_CV_BAM}\.sp_att\.dil_convs\.conv(\d)'
PYTORCHCV_BAM = KeyTable(
    "pytorchcv's BAM-ResNet",
    ('pytorchcv',),
    (rf'{_CV_BAM}\.ch_att\.init_fc\.fc\.weight',),
    (
        *_pytorchcv_rules(rf'{_CV_UNIT}\.res_unit'),
        Rule(rf'{_CV_BAM}\.ch_att\.init_fc\.fc\.(weight|bias)', _GATE_C + r'fc_0.\2'),
        Rule(rf'{_CV_BAM}\.ch_att\.init_fc\.bn\.{_NORM}', _GATE_C + r'bn_1.\2'),
        Rule(rf'{_CV_BAM}\.ch_att\.final_fc\.(weight|bias)', _GATE_C + r'fc_final.\2'),
        Rule(rf'{_CV_BAM}\.sp_att\.init_conv\.conv\.(weight|bias)', _GATE_S + r'conv_reduce0.\2'),
        Rule(rf'{_CV_BAM}\.sp_att\.init_conv\.bn\.{_NORM}', _GATE_S + r'bn_reduce0.\2'),
        Rule(rf'{_CV_DILATED}\.conv\.(weight|bias)', _GATE_S + r'conv_di_<\2-1>.\3'),
        Rule(rf'{_CV_DILATED}\.bn\.{_NORM}', _GATE_S + r'bn_di_<\2-1>.\3'),
        Rule(rf'{_CV_BAM}\.sp_att\.final_conv\.(weight|bias)', _GATE_S + r'conv_final.\2'),
    ),
    _CV_OUTPUT,
)
TABLES = (
    *(TIMM, TIMM_DEEP, TIMM_SK),
    *(ECANET, CBAM, BAM),
    *(PYTORCHCV_SE, PYTORCHCV_CBAM, PYTORCHCV_BAM),
    *(INSIGHT_SE, INSIGHT_SGE, MMPRETRAIN),
)

REFUSED = (
    RefusedLayout(
        "timm's legacy_se* (the layout of Cadene's pretrained-models)",
        (r'layer0\.conv1\.weight', rf'{_UNIT}\.se_module\.fc1\.weight'),
        "its max pooling has ceil_mode=True and no padding, which no option of MMDetection's ResNet gives: "
        "every map would be shifted. timm's seresnet* and seresnext* convert",
    ),
    RefusedLayout(
        "a ByobNet of timm's (gcresnet*, *33ts, *26ts, ...)",
        (r'stages\.0\.0\..*', r'stem\..*'),
        "its attention follows the second convolution of a block and its stem is another: MMDetection's "
        'ResNet does not compute it',
    ),
    RefusedLayout(
        "timm's skresnet18 or skresnet34",
        (rf'{_UNIT}\.conv1\.paths\.0\.conv\.weight',),
        'its selective kernels are in basic blocks, where MMDetection takes no SKConv (dcn=)',
    ),
    RefusedLayout(
        "PytorchInsight's SK-ResNet",
        (rf'{_UNIT}\.conv2g\.weight',),
        'its two branches are a dense and a grouped 3x3 convolution; those of mmattn.SKConv differ by '
        'dilation or kernel size',
    ),
)
"""Layouts that are recognised, and cannot be converted whatever the model."""
