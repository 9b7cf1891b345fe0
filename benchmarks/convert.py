"""Compare each public model that can be converted with what it becomes, and write docs/convert.md's tables.

Each model is built by its own library, or after the official code, with random weights and random running
statistics. It is converted, and the maps of the four stages are compared in fp64.

pip install --no-deps timm pytorchcv; python benchmarks/convert.py; with --page, only write the page.
"""

import argparse
import functools
import importlib.metadata
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import torch  # noqa: E402
from machine import describe  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from pages import with_text  # noqa: E402

from mmattn.checkpoints.convert import NoPeer, convert, fragment, known_models  # noqa: E402
from mmattn.checkpoints.convert.compare_stages import stage_differences  # noqa: E402
from mmattn.checkpoints.convert.file import report  # noqa: E402
from mmattn.checkpoints.convert.peers import build_peer  # noqa: E402
from mmattn.files import write_file  # noqa: E402
from tests.reference import resnets  # noqa: E402
from tests.test_checkpoints.test_convert.helpers import randomise  # noqa: E402

RESULTS = ROOT / 'benchmarks/results/convert.json'
PAGE = ROOT / 'docs/convert.md'
DEPTHS = {
    18: dict(blocks=(2, 2, 2, 2)),
    34: dict(blocks=(3, 4, 6, 3)),
    50: dict(blocks=(3, 4, 6, 3), bottleneck=True),
    101: dict(blocks=(3, 4, 23, 3), bottleneck=True),
    152: dict(blocks=(3, 8, 36, 3), bottleneck=True),
}
STAGES = ('layer1', 'layer2', 'layer3', 'layer4')
SOURCES = dict(
    timm='timm',
    pytorchcv='pytorchcv',
    official='official code',
    pytorchinsight='PytorchInsight',
    mmpretrain='MMPretrain',
)


def _eca(depth):
    """The kernel sizes of the released weights, which are not those of the paper's rule."""
    sizes = {18: (3, 5, 7, 7), 50: (3, 5, 5, 7)}.get(depth, (3, 3, 5, 7))
    return dict(name='eca', attention=[functools.partial(resnets.ECA, kernel_size=k) for k in sizes])


OFFICIAL = dict(
    official=dict(
        CBAM=lambda depth: dict(name='cbam', attention=(resnets.CBAM,) * 4),
        BAM=lambda depth: dict(between=resnets.BAM),
        ECA=_eca,
    ),
    pytorchinsight=dict(
        SE=lambda depth: dict(name='se', attention=(resnets.LinearSE,) * 4),
        CBAM=lambda depth: dict(name='cbam', attention=(resnets.CBAM,) * 4),
        BAM=lambda depth: dict(between=resnets.BAM),
        SGE=lambda depth: dict(name='sge', attention=(resnets.SGE,) * 4),
    ),
    mmpretrain=dict(SE=lambda depth: dict(name='se_layer', attention=(resnets.ConvModuleSE,) * 4)),
)
"""Models of tests/reference with the names of the official code, where no library has them."""


def peer_of(known):
    """Return a model, the modules that end its stages, and where it comes from."""
    try:
        return *build_peer(known), importlib.metadata.version(known.library)
    except NoPeer:
        if known.blocks not in OFFICIAL.get(known.library, ()) or known.backbone['type'] != 'ResNet':
            raise
    depth = known.backbone['depth']
    model = resnets.ResNet(**DEPTHS[depth], **OFFICIAL[known.library][known.blocks](depth))
    after = ('bam1', 'bam2', 'bam3', 'layer4') if known.blocks == 'BAM' else STAGES
    return model.eval(), after, 'a model after its code'


def measure(known):
    model, stages, version = peer_of(known)
    randomise(model)
    prefix = dict(mmpretrain='backbone.').get(known.library, '')
    weights = {
        ('head.' if prefix and key.startswith('fc.') else prefix) + key: value
        for key, value in model.state_dict().items()
    }
    conversion = convert(weights, known.library, known.name)
    backbone = conversion.build()
    return dict(
        version=version,
        parameters=sum(p.numel() for p in backbone.parameters()),
        insert=conversion.insert,
        difference=max(stage_differences(model, stages, backbone)),
    )


def page(results):
    found = results['models']
    lines = [
        '| source | model | attention | `backbone=` | parameters | published weights, top-1 at 224 |',
        '|---|---|---|---|---|---|',
    ]
    models = [each for each in known_models() if f'{each.library} {each.name}' in found]
    for known in models:
        options = ', '.join(f'{key}={value!r}' for key, value in known.backbone.items() if key != 'type')
        tags = ', '.join(f'{tag}: {top1:.2f}' if top1 else f'{tag}' for tag, top1 in known.weights.items())
        parameters = found[f'{known.library} {known.name}']['parameters']
        lines.append(
            f'| {SOURCES[known.library]} | {known.name} | {known.blocks} | `{known.backbone["type"]}`, '
            f'`{options}` | {parameters / 1e6:.2f} M | {tags or "none"} |'
        )
    worst = max(found[f'{each.library} {each.name}']['difference'] for each in models)
    lines += [
        '',
        f'{sum(bool(each.weights) for each in models)} of these {len(models)} models have published weights.',
        f'The largest difference in any stage is {worst:.1e} of the largest value of the map, in fp64.',
    ]
    refused = {}
    for known in known_models():
        if known.refused:
            refused.setdefault(known.refused, []).append(f'{SOURCES[known.library]} {known.name}')
    reasons = ['| model | why not |', '|---|---|']
    reasons += [f'| {", ".join(names)} | {why} |' for why, names in refused.items()]
    text = PAGE.read_text(encoding='utf-8')
    text = with_text(text, '<!-- convert.py: output -->', '<!-- end of output -->', example())
    text = with_text(text, '<!-- convert.py: models -->', '<!-- end of models -->', '\n'.join(lines))
    return with_text(text, '<!-- convert.py: refused -->', '<!-- end of refused -->', '\n'.join(reasons))


def example():
    """What the tool prints for timm's seresnet50."""
    with torch.device('meta'):
        weights = resnets.ResNet(**DEPTHS[50], attention=(resnets.SE,) * 4).state_dict()
    conversion = convert(weights, 'timm', 'seresnet50')
    return f'```python\n{report(conversion)}\n\n{fragment(conversion, "seresnet50.pth")}\n```'


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--page', action='store_true', help='only write the page, from the file')
    if not parser.parse_args().page:
        MMLogger.get_current_instance().setLevel('ERROR')
        models = {}
        for known in known_models():
            if known.refused:
                continue
            try:
                models[f'{known.library} {known.name}'] = measured = measure(known)
            except NoPeer as error:
                print(f'{known.library} {known.name} left out: {error}', file=sys.stderr)
                continue
            print(f'{known.library} {known.name}: {measured["difference"]:.1e}', file=sys.stderr, flush=True)
        write_file(RESULTS, json.dumps(dict(machine=describe(), models=models), indent=1) + '\n')
    write_file(PAGE, page(json.loads(RESULTS.read_text(encoding='utf-8'))))


if __name__ == '__main__':
    main()
