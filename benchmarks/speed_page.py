"""Write the tables of docs/speed.md from the files in results/.

python benchmarks/speed_page.py
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks/results'
PAGE = ROOT / 'docs/speed.md'
NAMES = dict(
    official='official formula',
    plain='`plain`',
    compiled='`torch.compile` of `plain`',
    ours='ours',
    timm='timm',
    mmyolo='MMYOLO',
)


def read(name):
    path = RESULTS / f'{name}.json'
    return json.loads(path.read_text()) if path.is_file() else None


def note(results):
    machine = results['machine']
    versions = machine['versions']
    return (
        f'{machine["gpu"] or machine["processor"]}, {machine["threads"]} threads of {machine["cores"]} cores, Python '  # noqa: E501
        f'{versions["python"]}, torch {versions["torch"]}; `{machine["command"]}`.'
    )


def transfers(results):
    """Maps read and written, forward + backward, and bytes kept in maps."""
    seen = {}
    for row in results['rows']:
        if row['training'] and row['dtype'] == 'fp32' and row['block'] not in seen:
            seen[row['block']] = row
    ways = ('official', 'timm', 'ours')
    lines = [
        '| block | '
        + ' | '.join(f'{NAMES[way]}: forward + backward' for way in ways)
        + ' | '
        + ' | '.join(f'{NAMES[way]}: maps kept' for way in ways)
        + ' |',
        '|---' * (1 + 2 * len(ways)) + '|',
    ]
    for block, row in seen.items():
        n, c, h, w = row['shape']
        moved = [row['map_transfers'].get(way) for way in ways]
        kept = [row['kept_bytes'].get(way) for way in ways]
        lines.append(
            f'| {block} | '
            + ' | '.join('-' if each is None else f'{each[0]} + {each[1]}' for each in moved)
            + ' | '
            + ' | '.join('-' if each is None else f'{each / (4 * n * c * h * w):.2f}' for each in kept)
            + ' |'
        )
    return '\n'.join(lines)


def speeds(results):
    """Times as fast as the official formula in eager mode, a row for each block and map."""
    if results is None:
        return 'Not measured yet.'
    rows = results['rows']
    ways = [
        way for way in NAMES if any(way in row.get('times_as_fast', {}) for row in rows) and way != 'official'
    ]
    parts = []
    for dtype in dict.fromkeys(row['dtype'] for row in rows):
        lines = [
            f'| {dtype} | map | `x.clone()`, ms | official formula, ms | '
            + ' | '.join(NAMES[way] for way in ways)
            + " | ours, share of a copy's bytes a second |",
            '|---' * (5 + len(ways)) + '|',
        ]
        for row in rows:
            if row['dtype'] != dtype:
                continue
            fast = row['times_as_fast']
            cells = [
                '-' if way not in fast else f'{fast[way]:.2f}' + (' (wrong)' if way in row['wrong'] else '')
                for way in ways
            ]
            cells = [f'**{cell}**' if way == 'ours' else cell for way, cell in zip(ways, cells)]
            size = 'x'.join(map(str, row['shape'][1:]))
            what = 'forward + backward' if row['training'] else 'inference'
            base = sorted(row['seconds']['official'])[len(row['seconds']['official']) // 2]
            lines.append(
                f'| {row["block"]}, {what} | {size} | {row["clone_seconds"] * 1e3:.2f} | {base * 1e3:.2f} | '
                + ' | '.join(cells)
                + f' | {row["share_of_copy"]["ours"]:.0%} |'
            )
        parts.append('\n'.join(lines))
    return '\n\n'.join(
        [
            *parts,
            f'Batch {rows[0]["shape"][0]}, medians of ratios of {len(rows[0]["seconds"]["official"])} '
            f'runs in turn. {note(results)}',
        ]
    )


def detectors(results):
    if results is None:
        return 'Not measured yet.'
    lines = [
        '| detector | attention | training step, s | times plain | inference, s | times plain | '
        'peak memory of a step | times plain |',
        '|---' * 8 + '|',
    ]
    rows = results['rows']
    for row in rows:
        if not row['training']:
            continue
        same = [other for other in rows if all(other[key] == row[key] for key in ('detector', 'dtype'))]
        test = next(
            other for other in same if not other['training'] and other['attention'] == row['attention']
        )
        base = next(other for other in same if other['training'] and other['attention'] == 'none')

        def middle(each):
            return sorted(each['seconds'])[len(each['seconds']) // 2]

        lines.append(
            f'| {row["detector"]} {row["dtype"]} | {row["attention"]} | {middle(row):.3f} | {row["ratio"]:.3f} | '  # noqa: E501
            f'{middle(test):.3f} | {test["ratio"]:.3f} | {row["peak_bytes"] / 2**20:,.0f} MiB | '
            f'{row["peak_bytes"] / base["peak_bytes"]:.3f} |'
        )
    size = 'x'.join(map(str, rows[0]['size']))
    lines += [
        '',
        f'ResNet-50, batch {rows[0]["batch"]} at {size}, medians of ratios of {len(rows[0]["seconds"])} runs in '  # noqa: E501
        f'turn. {note(results)}',
    ]
    return '\n'.join(lines)


def targets(blocks, steps):
    """What was aimed at, and the worst of what was measured, in fp32."""

    def worst(names, training):
        return min(
            row['times_as_fast']['ours']
            for row in blocks['rows']
            if row['block'] in names and row['training'] is training and row['dtype'] == 'fp32'
        )

    kept = max(
        row['kept_bytes']['ours']
        / (4 * row['shape'][0] * row['shape'][1] * row['shape'][2] * row['shape'][3])
        for row in blocks['rows']
        if row['training'] and row['dtype'] == 'fp32'
    )
    lines = ['| aim | | measured |', '|---|---|---|']
    for what, aim, found in (
        ('CBAM, forward + backward, times as fast as the official formula', 2.5, worst(['CBAM'], True)),
        ('CBAM, inference, likewise', 2.5, worst(['CBAM'], False)),
        ('SE and ECA, forward + backward, likewise', 1.3, worst(['SE', 'ECA'], True)),
    ):
        lines.append(
            f'| {what} | at least {aim} | {"" if found >= aim else "**not reached:** "}{found:.2f} and more |'
        )
    lines.append(f'| maps kept for the backward pass | 1 and small vectors | at most {kept:.2f} |')
    if steps:
        ratio = max(
            row['ratio']
            for row in steps['rows']
            if row['detector'] == 'Faster R-CNN' and row['training'] and row['attention'].endswith('ours')
        )
        lines.append(
            "| step of Faster R-CNN R50 with CBAM in all residual branches, times the plain one's | at most 1.15 | "  # noqa: E501
            f'{"" if ratio <= 1.15 else "**not reached:** "}{ratio:.3f} |'
        )
    return '\n'.join(lines)


def page(text):
    cpu, cuda = read('blocks_cpu'), read('blocks_cuda')
    tables = dict(
        transfers=transfers(cpu),
        targets=targets(cpu, read('detectors_cpu')),
        blocks_cpu=speeds(cpu),
        blocks_cuda=speeds(cuda),
        detectors_cpu=detectors(read('detectors_cpu')),
        detectors_cuda=detectors(read('detectors_cuda')),
    )
    for name, table in tables.items():
        marker = f'<!-- benchmarks/speed_page.py: {name} -->\n'
        head, _, rest = text.partition(marker)
        text = f'{head}{marker}{table}\n<!-- end -->' + rest.partition('<!-- end -->')[2]
    return text


if __name__ == '__main__':
    PAGE.write_text(page(PAGE.read_text(encoding='utf-8')), encoding='utf-8')
