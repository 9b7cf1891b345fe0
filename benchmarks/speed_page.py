"""Write the tables of docs/speed.md from the files in results/.

python benchmarks/speed_page.py
"""

import json
from math import prod
from pathlib import Path

from pages import with_text

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
PAGE = ROOT / 'docs/speed.md'
END = '<!-- end -->'
NOT_MEASURED = 'Not measured yet.'
# Ways to compute a block, as the data files and as the page call them.
NAMES = dict(
    official='official formula',
    plain='`plain`',
    compiled='`plain`, `torch.compile`',
    ours='ours',
    timm='timm',
    mmyolo='MMYOLO',
)
BYTES = dict(fp32=4, bf16=2, fp16=2)


def table(titles, rows):
    """Return a Markdown table."""
    lines = [titles, ['---'] * len(titles), *rows]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines).replace('| --- ', '|---')


def setting(results):
    """Return machine, versions and command of a results file."""
    machine, versions = results['machine'], results['machine']['versions']
    device = machine['gpu'] or machine['processor']
    return (
        f'{device}, {machine["threads"]} threads on {machine["cores"]} cores, Python {versions["python"]}, '
        f'torch {versions["torch"]};\n`{machine["command"]}`.'
    )


def median(seconds):
    return sorted(seconds)[len(seconds) // 2]


def maps_kept(row, way):
    """Return how many maps a way keeps for the backward pass; ``None`` if it was not measured."""
    kept = row['kept_bytes'].get(way)
    return kept and kept / (BYTES[row['dtype']] * prod(row['shape']))


def transfers_table(results):
    """Return the table of maps read and written, forward + backward, and of maps kept between the two."""
    first = {}
    for row in results['rows']:
        if row['training'] and row['dtype'] == 'fp32':
            first.setdefault(row['block'], row)
    ways = ('official', 'timm', 'ours')
    titles = [f'{what}: {NAMES[way]}' for what in ('reads and writes', 'maps kept') for way in ways]
    rows = []
    for block, row in first.items():
        moved = [row['map_transfers'].get(way) for way in ways]
        kept = [maps_kept(row, way) for way in ways]
        rows.append(
            [block]
            + ['-' if each is None else f'{each[0]} + {each[1]}' for each in moved]
            + ['-' if each is None else f'{each:.2f}' for each in kept]
        )
    return table(['block', *titles], rows)


def speedup(row, way):
    """Return the cell that says how many times as fast as the official formula a way is."""
    if way not in row['times_as_fast']:
        return '-'
    text = f'{row["times_as_fast"][way]:.2f}' + (' (wrong)' if way in row['wrong'] else '')
    return f'**{text}**' if way == 'ours' else text


def fastest_rounds(row):
    """Return how many times as fast ours is, by the fastest round of each."""
    return min(row['seconds']['official']) / min(row['seconds']['ours'])


def blocks_table(results):
    """Return the speed of each block on each map, as one table per dtype."""
    if results is None:
        return NOT_MEASURED
    rows = results['rows']
    measured = set().union(*(row['times_as_fast'] for row in rows))
    ways = [way for way in NAMES if way in measured and way != 'official']
    parts = []
    for dtype in dict.fromkeys(row['dtype'] for row in rows):
        titles = [dtype, 'map', '`x.clone()`, ms', 'official formula, ms', *(NAMES[way] for way in ways)]
        cells = [
            [
                f'{row["block"]}, {"forward + backward" if row["training"] else "inference"}',
                'x'.join(map(str, row['shape'][1:])),
                f'{row["clone_seconds"] * 1e3:.2f}',
                f'{median(row["seconds"]["official"]) * 1e3:.2f}',
                *(speedup(row, way) for way in ways),
                f'{fastest_rounds(row):.2f}',
                f'{row["share_of_copy"]["ours"]:.0%}',
            ]
            for row in rows
            if row['dtype'] == dtype
        ]
        ends = 'ours, fastest rounds', "ours, share of a copy's bandwidth"
        parts.append(table([*titles, *ends], cells))
    batch, repeats = rows[0]['shape'][0], len(rows[0]['seconds']['official'])
    note = f'Batch {batch}, medians of the ratios of {repeats} interleaved runs.\n{setting(results)}'
    return '\n\n'.join([*parts, note])


def large_pages_table(results):
    """Return the table of the time of blocks with and without large pages for all memory of PyTorch."""
    if results is None:
        return NOT_MEASURED
    rows, variable = results['rows'], 'THP_MEM_ALLOC_ENABLE'
    cells = []
    for row in rows:
        cell = [f'{row["block"]}, {"forward + backward" if row["training"] else "inference"}']
        for way in ('official', 'ours'):
            alone, using = (row['seconds'][name] for name in (way, f'{way} {variable}'))
            faster = median([one / other for one, other in zip(alone, using)])
            cell += [f'{median(alone) * 1e3:.1f}', f'{faster:.2f}']
        cells.append(cell)
    titles = [title for way in ('official', 'ours') for title in (f'{NAMES[way]}, ms', 'speed with it')]
    size, repeats = 'x'.join(map(str, rows[0]['shape'])), len(rows[0]['seconds']['ours'])
    note = f'fp32, {size}, medians of {repeats} runs in turn.\n{setting(results)}'
    return table([f'`{variable}=1`', *titles], cells) + f'\n\n{note}'


def with_range(row, without):
    """Return the median of the ratios of interleaved runs, and the least and the largest of them."""
    ratios = [own / other for own, other in zip(row['seconds'], without['seconds'], strict=True)]
    return f'{row["ratio"]:.3f} ({min(ratios):.3f} to {max(ratios):.3f})'


def detectors_table(results):
    """Return the table of time and memory of whole detectors, with and without attention."""
    if results is None:
        return NOT_MEASURED
    rows = results['rows']
    found = {(row['detector'], row['dtype'], row['attention'], row['training']): row for row in rows}
    cells = []
    for (detector, dtype, attention, training), step in found.items():
        if not training:
            continue
        test = found[detector, dtype, attention, False]
        without, idle = (found[detector, dtype, 'none', each] for each in (True, False))
        cells.append(
            [
                f'{detector} {dtype}',
                attention,
                f'{median(step["seconds"]):.3f}',
                with_range(step, without),
                f'{median(test["seconds"]):.3f}',
                with_range(test, idle),
                f'{step["peak_bytes"] / 2**20:,.0f} MiB',
                f'{step["peak_bytes"] / without["peak_bytes"]:.3f}',
            ]
        )
    measured = ['training step, s', 'inference, s', 'peak memory of a step']
    titles = [title for what in measured for title in (what, 'ratio to none')]
    batch, size, repeats = rows[0]['batch'], 'x'.join(map(str, rows[0]['size'])), len(rows[0]['seconds'])
    note = (
        f'ResNet-50, batch {batch} at {size}, medians of the ratios of {repeats} interleaved runs, and all '
        f'that they lie between.\n{setting(results)}'
    )
    return table(['detector', 'attention', *titles], cells) + f'\n\n{note}'


def tails_table(results):
    """Return the table of a backbone's time and kept memory, its tails as one or step by step."""
    if results is None:
        return NOT_MEASURED
    found = {(row['attention'], row['training']): row for row in results['rows']}
    cells = []
    for (attention, training), step in found.items():
        if training:
            test = found[attention, False]
            cells.append(
                [
                    attention,
                    *(
                        f'{each["ratio"]:.3f} (at most {each["upper_limit"]:.3f})'
                        if attention != 'none'
                        else '1.000'
                        for each in (step, test)
                    ),
                    f'{step["kept_bytes"] / 2**20:,.1f} MiB',
                    f'{step["kept_bytes"] / found["none", True]["kept_bytes"]:.4f}',
                ]
            )
    measured = ['training step, ratio to none', 'inference, ratio to none', 'kept', 'ratio to none']
    size, repeats = 'x'.join(map(str, results['size'])), len(results['rows'][0]['seconds'])
    note = (
        f'ResNet-50, {results.get("dtype", "fp32")}, batch {results.get("batch", 1)} at {size}: '
        f'medians of the ratios of {repeats} interleaved runs,\nand the upper limit of each median '
        f'(95 %, by ranks).\n'
        f'{setting(results)}'
    )
    return table(['attention', *measured], cells) + f'\n\n{note}'


def profile_table(results):
    """Return the table of where the time of a training step goes."""
    if results is None:
        return NOT_MEASURED
    rows = {row['attention']: row['ms'] for row in results['rows']}
    convolutions = ('convolutions, forward', 'convolutions, backward')
    groups = [group for group in rows['none'] if group not in (*convolutions, 'all else')]
    sums = {
        **{group: [ms[group] for ms in rows.values()] for group in convolutions},
        **{group: [ms[group] for ms in rows.values()] for group in sorted(groups)},
        '**norms, additions, ReLU and tails together**': [
            sum(ms[group] for group in groups) for ms in rows.values()
        ],
        'all else': [ms['all else'] for ms in rows.values()],
        '**all**': [sum(ms.values()) for ms in rows.values()],
    }
    cells = [[group, *(f'{ms:.1f}' for ms in each)] for group, each in sums.items()]
    size = 'x'.join(map(str, results['size']))
    note = (
        f'ResNet-50, fp32, batch 1 at {size}: medians of {results["repeats"]} steps by turns, by '
        f"PyTorch's profiler.\n{setting(results)}"
    )
    return table(['ms of a training step', *rows], cells) + f'\n\n{note}'


def targets_table(blocks, detectors):
    """Return the table of targets, each beside the worst measurement in fp32."""
    rows = [row for row in blocks['rows'] if row['dtype'] == 'fp32']

    def slowest(names, training):
        found = [row for row in rows if row['block'] in names and row['training'] is training]
        return min(row['times_as_fast']['ours'] for row in found), min(map(fastest_rounds, found))

    def reached(is_reached, text):
        return text if is_reached else f'**not reached:** {text}'

    cells = []
    for what, target, found in (
        ('CBAM, forward + backward: speed over the official formula', 3, slowest(['CBAM'], True)),
        ('CBAM, inference: the same', 2.5, slowest(['CBAM'], False)),
        ('SE and ECA, forward + backward: the same', 1.5, slowest(['SE', 'ECA'], True)),
        ('SE and ECA, inference: the same', 1, slowest(['SE', 'ECA'], False)),
    ):
        median_, fastest = found
        text = f'{median_:.2f}; by the fastest rounds {fastest:.2f}'
        cells.append([what, f'at least {target}', reached(median_ >= target, text)])
    kept = max(maps_kept(row, 'ours') for row in rows if row['training'])
    cells.append(['maps kept for the backward pass', '1 and small vectors', f'at most {kept:.2f}'])
    if detectors:
        ratio = max(
            row['ratio']
            for row in detectors['rows']
            if row['detector'] == 'Faster R-CNN' and row['training'] and row['attention'] == 'CBAM ours'
        )
        what = 'training step of Faster R-CNN R50 with CBAM in all residual branches, ratio to none'
        cells.append([what, 'at most 1.15', reached(ratio <= 1.15, f'{ratio:.3f}')])
    return table(['what', 'target', 'measured'], cells)


def page(text):
    """Return the page with new tables."""
    cpu, detectors_cpu = read('blocks_cpu'), read('detectors_cpu')
    tables = dict(
        transfers=transfers_table(cpu),
        targets=targets_table(cpu, detectors_cpu),
        blocks_cpu=blocks_table(cpu),
        large_pages=large_pages_table(read('large_pages')),
        blocks_cuda=blocks_table(read('blocks_cuda')),
        tails_cpu=tails_table(read('tails_cpu')),
        tails_cuda=tails_table(read('tails_cuda')),
        tail_profile=profile_table(read('tail_profile')),
        detectors_cpu=detectors_table(detectors_cpu),
        detectors_cuda=detectors_table(read('detectors_cuda')),
    )
    for name, content in tables.items():
        text = with_text(text, f'<!-- benchmarks/speed_page.py: {name} -->', END, content)
    return text


def read(name):
    """Return a results file; ``None`` if it was not measured yet."""
    path = RESULTS / f'{name}.json'
    return json.loads(path.read_text()) if path.is_file() else None


if __name__ == '__main__':
    PAGE.write_text(page(PAGE.read_text(encoding='utf-8')), encoding='utf-8')
