#!/usr/bin/env python
"""Attach attention that starts as the identity to every model of mmdet's configs, and compare bit for bit.

python benchmarks/identity_sweep.py                      # all configs; continues a stopped sweep
python benchmarks/identity_sweep.py 'retinanet/*' -o -   # some configs, with the outcome on the screen
python benchmarks/identity_sweep.py --page-only          # write the docs page again, from the saved outcome
"""

import argparse
import fnmatch
import hashlib
import json
import multiprocessing
import os
import sys
import textwrap
import time
import warnings
from collections import Counter, defaultdict
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]
import machine  # noqa: E402
from pages import with_text  # noqa: E402

from mmattn.files import write_file  # noqa: E402

OUTCOME = ROOT / 'benchmarks/results/identity_sweep.json'
PAGE = ROOT / 'docs/supported_detectors.md'
BLOCK = dict(type='mmattn.CBAM', start='identity')
# Image sizes to try until the model without attention accepts one; none is square.
SIZES = ((64, 96), (128, 192), (320, 384), (512, 640))
MARKS = '<!-- written by benchmarks/identity_sweep.py -->', '<!-- end -->'
# Outcomes of a config or a model; only with the first two was anything compared.
IDENTICAL, DIFFERS, REFUSED, NO_SITE, NOT_RUN, NOT_BUILT, NOT_LOADED, NO_MODEL = (
    'identical',
    'differs',
    'refused',
    'no site',
    'does not run',
    'does not build',
    'does not load',
    'no model',
)


def check(cfg: dict) -> dict:
    """Build one model, compare it with and without attention, and return the outcome."""
    import mmdet_configs
    import torch

    from mmattn.insertion import identity

    found = {}
    rpn = (cfg.get('test_cfg') or {}).get('rpn')
    if rpn:
        rpn['max_per_img'] = 20  # where attention stands in RoI heads; a thousand take a minute
    try:
        model = mmdet_configs.build_shipped_model(cfg)
    except Exception as error:
        found['reason'] = mmdet_configs.failure_reason(error)
        model = mmdet_configs.build_trunks(cfg)
        if model is None:
            return dict(found, outcome=NOT_BUILT)
        found['trunk_only'] = True
    identity.randomise(model)
    found['parameters'] = sum(p.numel() for p in model.parameters())
    for size in SIZES:
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
        try:
            with torch.no_grad():
                identity.feature_maps(model, image)
            break
        except Exception as error:
            reason = mmdet_configs.failure_reason(error)
    else:
        return dict(found, outcome=NOT_RUN, reason=reason)
    found['size'] = size
    reports = []
    for part in parts_with_attention(model):
        try:
            reports.append(identity.check_identity(part, image, BLOCK))
        except (ValueError, TypeError, KeyError) as error:
            return dict(found, outcome=REFUSED, reason=str(error)[:600])
    if not all(report.sites for report in reports):
        return dict(found, outcome=NO_SITE)
    sites = sum((Counter(report.sites) for report in reports), Counter())
    problems = [problem for report in reports for problem in report.problems]
    return dict(
        found,
        outcome=DIFFERS if problems else IDENTICAL,
        sites=dict(sites),
        problems=problems,
        maps=sum(report.maps for report in reports),
        idle=[name for report in reports for name in report.idle],
    )


def parts_with_attention(model):
    """Return what gets attention: the model, or student and teacher of a semi-supervised one."""
    pair = [getattr(model, name, None) for name in ('student', 'teacher')]
    return [model] if None in pair else pair


def check_apart(cfg: dict, timeout: float) -> dict:
    """Run :func:`check` in a process of its own, so that a crash or a hang ends that process only."""
    fork = multiprocessing.get_context('fork')
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_child, args=(cfg, theirs))
    start = time.perf_counter()
    process.start()
    theirs.close()
    try:
        if ours.poll(timeout):
            found = ours.recv()
        else:
            found = dict(outcome=NOT_RUN, reason=f'took longer than {timeout:.0f} s')
    except EOFError:
        process.join()
        found = dict(outcome=NOT_RUN, reason=f'its process ended with code {process.exitcode}')
    finally:
        process.kill()
        process.join()
    return dict(found, seconds=round(time.perf_counter() - start, 1))


def _child(cfg, pipe):
    with open(os.devnull, 'w') as null, redirect_stdout(null), redirect_stderr(null):
        try:
            found = check(cfg)
        except MemoryError:
            found = dict(outcome=NOT_RUN, reason='not enough memory')
        except Exception as error:  # of our own code: an outcome that is seen, too
            found = dict(outcome=DIFFERS, problems=[f'{type(error).__name__}: {error}'[:600]])
        pipe.send(found)


def load_configs(names):
    """Return the key of each config's model, or the reason why it has none, and the models by their keys."""
    import mmdet_configs

    configs, models = {}, {}
    for name in names:
        try:
            with open(os.devnull, 'w') as null, redirect_stdout(null), redirect_stderr(null):
                cfg = mmdet_configs.shipped_model(name)
        except Exception as error:
            configs[name] = dict(outcome=NOT_LOADED, reason=mmdet_configs.failure_reason(error))
            continue
        if cfg is None:
            configs[name] = dict(outcome=NO_MODEL)
            continue
        key = hashlib.sha256(mmdet_configs.signature(cfg).encode()).hexdigest()[:12]
        configs[name] = dict(model=key)
        models.setdefault(key, cfg)
    return configs, models


def setting():
    """Describe where the sweep runs, and hash the sources on which its outcome depends."""
    sources = sorted(
        path for room in ('ops', 'blocks', 'insertion') for path in (ROOT / 'mmattn' / room).glob('*.py')
    )
    digest = hashlib.sha256(b''.join(path.read_bytes() for path in [*sources, Path(__file__)]))
    return dict(machine.describe(), block=BLOCK, sources=digest.hexdigest()[:12])


def sweep(names, timeout, partial):
    """Return the whole outcome; models in ``partial`` from the same sources are not checked again."""
    from mmengine.logging import MMLogger

    warnings.filterwarnings('ignore')
    MMLogger.get_current_instance().setLevel('ERROR')
    with open(os.devnull, 'w') as null, redirect_stdout(null), redirect_stderr(null):
        from mmdet.utils import register_all_modules

        register_all_modules(init_default_scope=False)
    here = setting()
    configs, models = load_configs(names)
    done = _read_partial(partial, here['sources'])
    left = [key for key in models if key not in done]
    print(
        f'{len(configs)} configs, {len(models)} distinct models, {len(left)} of them to be checked',
        flush=True,
    )
    by_model = {entry['model']: name for name, entry in reversed(configs.items()) if 'model' in entry}
    with open(partial, 'a', encoding='utf-8') as file:
        for number, key in enumerate(left, 1):
            done[key] = check_apart(models[key], timeout)
            json.dump(dict(sources=here['sources'], model=key, **done[key]), file)
            print(file=file, flush=True)
            what = '; '.join(filter(None, [done[key].get('reason'), *done[key].get('problems', ())]))
            print(
                f'[{number}/{len(left)}] {by_model[key]}: {done[key]["outcome"]} '
                f'({done[key]["seconds"]} s) {what}',
                flush=True,
            )
    return dict(
        setting=here,
        seconds=round(sum(done[key]['seconds'] for key in models)),
        configs=configs,
        models={key: dict(config=by_model[key], **done[key]) for key in models},
    )


def _read_partial(partial, sources):
    done = {}
    if partial.exists():
        for line in partial.read_text(encoding='utf-8').splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut off when the sweep was stopped
                continue
            if entry.pop('sources') == sources:
                done[entry.pop('model')] = entry
    return done


def rows_of(outcome):
    """Yield the family of each config, the key of its model, and the outcome."""
    for name, entry in outcome['configs'].items():
        key = entry.get('model')
        yield name.partition('/')[0], key, outcome['models'][key] if key else entry


IN_PART = 'backbone and neck alone are identical'


def shortfall(entry):
    """Say what is less than a whole model found identical; ``None`` if nothing is."""
    if entry['outcome'] != IDENTICAL:
        return entry['outcome']
    return IN_PART if entry.get('trunk_only') else None


def summary(outcome):
    """Return as Markdown what was compared, and what was not and why."""
    return [*_counts(outcome), '', *_idle_blocks(outcome), '', *_reasons(outcome), _setting(outcome), '']


def _paragraph(text):
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def _counts(outcome):
    rows = list(rows_of(outcome))
    count = Counter(entry['outcome'] for _, _, entry in rows)
    models = outcome['models'].values()
    compared = [m for m in models if m['outcome'] in (IDENTICAL, DIFFERS)]
    same = [m for m in models if m['outcome'] == IDENTICAL]
    parts = [m for m in same if m.get('trunk_only')]
    in_part = sum(shortfall(entry) == IN_PART for _, _, entry in rows)
    blocks_by_part = sum((Counter(m['sites']) for m in same), Counter())
    blocks = ', '.join(f'{blocks_by_part[part]:,} {LABELS[part]}' for part in LABELS if blocks_by_part[part])
    return _paragraph(
        f'**{len(same)} of {len(compared)} compared models are identical.** MMDetection ships {len(rows)} '
        f'configs, of which {len(rows) - count[NO_MODEL] - count[NOT_LOADED]} load and have a model. Configs '
        'that differ only in weights, losses, normalisation of the input, training and test settings or '
        f'number of classes share one model: there are {len(models)} distinct models. Of the identical ones '
        f'{len(same) - len(parts)} are whole models ({count[IDENTICAL] - in_part} configs); of {len(parts)} '
        f'({in_part} configs) only backbone and neck could be built. They have '
        f'{sum(blocks_by_part.values()):,} blocks ({blocks}) and {sum(m["maps"] for m in same):,} maps.'
    )


def _idle_blocks(outcome):
    from mmattn.insertion.glob_names import names_to_globs

    idle = {
        m['config']: m['idle']
        for m in outcome['models'].values()
        if m['outcome'] == IDENTICAL and m.get('idle')
    }
    if not idle:
        return ['Every block has an effect on some map: a gradient of the maps reaches it.']
    lines = [f'{sum(map(len, idle.values())):,} of the blocks have no effect on these maps:', '']
    for config, names in idle.items():
        blocks = ', '.join(f'`{name}`' for name in names_to_globs(names))
        lines.append(f'- `{config}`: {blocks}')
    return lines


def _reasons(outcome):
    reasons = Counter(
        (shortfall(entry), entry.get('reason') or '; '.join(entry.get('problems', ())))
        for _, _, entry in rows_of(outcome)
        if shortfall(entry)
    )
    if not reasons:
        return []
    lines = ['| not compared as a whole, or not identical | why | configs |', '|---|---|---|']
    lines += [
        f'| {what} | {_cell(why) or "a part that other configs inherit"} | {n} |'
        for (what, why), n in sorted(reasons.items(), key=lambda item: (item[0][0], -item[1]))
    ]
    return [*lines, '']


def _setting(outcome):
    here = outcome['setting']
    versions = ', '.join(f'{name} {version}' for name, version in here['versions'].items())
    lines = _paragraph(
        f'Block: `{here["block"]}`. `{here["command"]}` took {outcome["seconds"] / 60:.0f} minutes on '
        f'{here["processor"]}, {here["threads"]} of {here["cores"]} cores; {versions}.'
    )
    return '\n'.join(lines)


LABELS = dict(
    residual='residual branches',
    stage='stages',
    lateral='laterals',
    topdown='top-down maps',
    output='neck outputs',
)


def table(outcome):
    """Return a Markdown table with one row per family."""
    families = defaultdict(list)
    for family, key, entry in rows_of(outcome):
        families[family].append((key, entry))
    titles = ['family', 'configs', 'models', 'identical', *LABELS.values(), 'less than a whole model']
    lines = [f'| {" | ".join(titles)} |', '|---' * len(titles) + '|']
    for family, rows in sorted(families.items()):
        models = {key: entry for key, entry in rows if key}
        same = [m for m in models.values() if m['outcome'] == IDENTICAL]
        others = Counter(shortfall(entry) for _, entry in rows if shortfall(entry))
        cells = [_span([m['sites'].get(part, 0) for m in same]) for part in LABELS]
        lines.append(
            f'| {family} | {len(rows)} | {len(models)} | {len(same)} | '
            + ' | '.join(cells)
            + ' | '
            + ', '.join(f'{n} {what}' for what, n in sorted(others.items()))
            + ' |'
        )
    return lines


def _span(counts):
    low, high = min(counts, default=0), max(counts, default=0)
    return '' if not high else str(low) if low == high else f'{low} to {high}'


def _cell(text):
    return ' '.join(text.split()).replace('|', '\\|')


def write_page(outcome, page):
    """Write summary and table between the marks of the page."""
    body = '\n'.join([*summary(outcome), *table(outcome)])
    page.write_text(with_text(page.read_text(encoding='utf-8'), *MARKS, body), encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('patterns', nargs='*', default=['*'], help='globs over config paths, such as yolox/*')
    parser.add_argument('-o', '--out', default=OUTCOME, help='JSON file, or - for the screen')
    parser.add_argument('--timeout', type=float, default=300, help='seconds a model may take')
    parser.add_argument('--fresh', action='store_true', help='do not go on with an unfinished sweep')
    parser.add_argument('--page-only', action='store_true', help=f'only write {PAGE.name} again')
    args = parser.parse_args()
    if args.page_only:
        write_page(json.loads(OUTCOME.read_text(encoding='utf-8')), PAGE)
        return
    from mmdet_configs import shipped_configs

    names = [name for name in shipped_configs() if any(fnmatch.fnmatch(name, p) for p in args.patterns)]
    if not names:
        sys.exit(f"none of mmdet's configs matches {' '.join(args.patterns)}")
    partial = OUTCOME.with_suffix('.partial.jsonl')
    partial.parent.mkdir(exist_ok=True)
    if args.fresh:
        partial.unlink(missing_ok=True)
    outcome = sweep(names, args.timeout, partial)
    if args.out == '-':
        print('\n'.join(summary(outcome)))
        return
    write_file(args.out, json.dumps(outcome, indent=1) + '\n')
    if Path(args.out).resolve() == OUTCOME:
        write_page(outcome, PAGE)
        partial.unlink()


if __name__ == '__main__':
    main()
