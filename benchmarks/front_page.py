"""Write what README.md shows of results: promises, the sites of its config, studies, a run of the demo.

python benchmarks/front_page.py                  # from the files in results/
python benchmarks/front_page.py --demo demo.log  # from `make demo | tee demo.log`, kept in results/demo.json
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import describe
from pages import with_text, write_page
from study_page import interval, percent, points

from mmattn.files import write_file

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
PAGE = ROOT / 'README.md'
END = '<!-- end of {} -->'
ALL_VARIANTS = 'docs/study.md#a-larger-one-se-eca-and-cbam-their-start-and-the-controls'
SITES = ('my_config.py', 'backbone.**.residual', '--blocks', 'CBAM')
# Of what the demo prints: what is trained, the table of metrics, the page that shows it all, the times.
SHOWN = re.compile(r'training |   AP   AP50 |\d\.\d{3}  \d\.\d{3}  |page  |took data ')


def read(name):
    return json.loads((RESULTS / f'{name}.json').read_text(encoding='utf-8'))


def promises():
    """Return the table of promises: what is promised, with the page that shows it, and what was measured."""
    sweep = read('identity_sweep')
    rows = [
        ('Anywhere, by config', 'supported_detectors', anywhere(sweep)),
        ('No worse at the start', 'faq', start(sweep, read('start_bccd'))),
        ('Almost free', 'speed', cost(read('tails_cpu'))),
        ('Did it help?', 'study_statistics', study(read('study_coverage'))),
    ]
    lines = ['| promise | measured |', '|---|---|']
    return '\n'.join(lines + [f'| **[{name}](docs/{page}.md)** | {found} |' for name, page, found in rows])


def identical(sweep):
    return [model for model in sweep['models'].values() if model['outcome'] == 'identical']


def anywhere(sweep):
    same = identical(sweep)
    blocks = sum(sum(model['sites'].values()) for model in same)
    return f'{blocks:,} sites in {len(same)} different models of MMDetection, CNNs and transformers'


def start(sweep, fine_tuned):
    compared = [m for m in sweep['models'].values() if m['outcome'] in ('identical', 'differs')]
    before = {
        arm: [run['before']['bbox_mAP'] for run in fine_tuned['runs'] if run['arm'] == arm]
        for arm in ('plain', 'identity', 'paper')
    }
    assert before['identity'] == before['plain']
    return (
        f'{len(identical(sweep))} of {len(compared)} models give bit for bit the maps that they gave. '
        f'A trained detector keeps its AP of {before["identity"][0]:.3f}; '
        f'CBAM as published leaves at most {max(before["paper"]):.3f}'
    )


def row(rows, **wanted):
    (found,) = (each for each in rows if all(each[key] == value for key, value in wanted.items()))
    return found


def cost(tails):
    none = row(tails['rows'], attention='none', training=True)
    training, inference = (
        row(tails['rows'], attention='CBAM, as one', training=training) for training in (True, False)
    )
    return (
        'CBAM in every residual branch of a ResNet-50, on a CPU (no GPU has been timed yet): training step '
        f'x{training["ratio"]:.2f}, inference x{inference["ratio"]:.2f}, memory kept '
        f'x{training["kept_bytes"] / none["kept_bytes"]:.3f}'
    )


def study(coverage):
    cells = [cell['methods'] for cell in coverage['cells'].values()]
    ours, usual = (
        [100 * cell[method]['coverage'] for cell in cells] for method in ('shipped', 't over seeds')
    )
    return (
        f'its 95 % intervals hold the truth in {min(ours):.1f} to {max(ours):.1f} % of simulated studies; '
        f"Student's t over seeds in {min(usual):.1f} % at worst"
    )


def studies():
    """Return what studies found of CBAM: AP without and with it, the difference and what is known of it."""
    rows = [
        '| seeds, images | no attention | CBAM | difference of AP | 95 % interval | |',
        '|---|---|---|---|---|---|',
    ]
    many = []
    for name, variant in (('smallest', 'cbam'), ('shapes_attention', 'cbam_identity')):
        found = read(f'study_{name}')
        assert percent(found) == '95 %'
        each = row(found['comparisons'], metric='bbox/AP', variant=variant)
        rows.append(
            f'| {each["paired_seeds"]}, {found["images"]:,} '
            f'| {points(each["mean_control"])} ± {points(each["spread_control"])} '
            f'| {points(each["mean"])} ± {points(each["spread"])} | {points(each["difference"], "+")} '
            f'| {interval(each)} | {each["verdict"]} |'
        )
        of_ap = [each['difference'] for each in found['comparisons'] if each['metric'] == 'bbox/AP']
        if len(of_ap) > 1:
            place = sorted(of_ap, reverse=True).index(each['difference']) + 1
            many.append(f'The second is number {place} of the {len(of_ap)} variants of its study, by AP')
    return '\n'.join(rows) + f'\n\n{" ".join(many)}\n([all of them]({ALL_VARIANTS})).'


def config():
    """Return the config that the page shows."""
    return re.search(r'```python\n(# my_config\.py.*?)```', PAGE.read_text(encoding='utf-8'), re.DOTALL)[1]


def run_sites():
    """Return what ``tools/sites.py`` prints of the page's config."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, 'my_config.py').write_text(config(), encoding='utf-8')
        command = [sys.executable, ROOT / 'tools/sites.py', *SITES]
        return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def sites(printed):
    """Return the command and what it printed."""
    shown = ' '.join(f"'{word}'" if '*' in word else word for word in SITES)
    lines = (line.rstrip() for line in printed.splitlines())
    return '\n'.join(['```console', f'$ python tools/sites.py {shown}', *lines, '```'])


def printed(log):
    """Return the lines of the demo's output that the page shows, with paths relative to the checkout."""
    lines = log.replace(f'{ROOT}{os.sep}', '').splitlines()
    return [line for line in lines if SHOWN.match(line)]


def demo(results):
    """Return what a run of the demo printed."""
    return '\n'.join(['```console', '$ make demo', *results['printed'], '```'])


def page(text, parts):
    """Return the page with each part between its marks."""
    for name, part in parts.items():
        text = with_text(text, f'<!-- benchmarks/front_page.py: {name} -->', END.format(name), part)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--demo', type=Path, metavar='LOG', help='what `make demo` has printed')
    args = parser.parse_args()
    if args.demo:
        found = dict(machine=describe(), printed=printed(args.demo.read_text(encoding='utf-8')))
        write_file(RESULTS / 'demo.json', json.dumps(found, indent=1) + '\n')
    parts = dict(promises=promises(), sites=sites(run_sites()), studies=studies())
    if (RESULTS / 'demo.json').exists():
        parts['demo'] = demo(read('demo'))
    write_page(PAGE, page(PAGE.read_text(encoding='utf-8'), parts))


if __name__ == '__main__':
    main()
