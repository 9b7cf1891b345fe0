"""Run all checks and measurements that need a GPU, in one call, and write one file.

    python benchmarks/gpu_all.py --wheels FOLDER --output gpu_all.json

It needs PyTorch and Triton, but no network: other missing packages (MMEngine with its dependencies; MMCV
and MMDetection for the detectors) are installed from the wheels in FOLDER into a temporary folder. Checks
run first, and measurements only if all checks pass (or with ``--measure-anyway``). Each part has a share of
``--minutes``; a part that takes longer is ended, and its measurements so far are kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def install(wheels, target):
    found = sorted(str(path) for path in wheels.glob('*.whl'))
    if not found:
        raise SystemExit(f'--wheels {wheels}: no wheel is there')
    subprocess.run(
        [
            sys.executable,
            '-m',
            'pip',
            'install',
            '--quiet',
            '--no-index',
            '--no-deps',
            '--no-compile',
            '--target',
            str(target),
            *found,
        ],
        check=True,
    )


def missing(modules, env):
    code = (
        'import importlib, sys\n'
        'for name in sys.argv[1:]:\n'
        '    try: importlib.import_module(name)\n'
        '    except Exception as error: print(f"{name}: {type(error).__name__}: {error}")'
    )
    done = subprocess.run([sys.executable, '-c', code, *modules], capture_output=True, text=True, env=env)
    return [line for line in done.stdout.splitlines() if line]


def part(script, arguments, output, env, seconds):
    """Run a script for at most ``seconds``; return what it wrote, and how it ended."""
    began = time.monotonic()
    command = [sys.executable, str(HERE / script), *arguments, '--output', str(output)]
    try:
        done = subprocess.run(
            command, env=env, timeout=max(seconds, 1), stdout=sys.stdout, stderr=subprocess.PIPE, text=True
        )
        ended = 'ok' if done.returncode == 0 else f'exit status {done.returncode}'
        errors = done.stderr[-3000:] if done.returncode else ''
    except subprocess.TimeoutExpired:
        ended, errors = f'ended after {seconds:.0f} s', ''
    print(f'== {script}: {ended}, {time.monotonic() - began:.0f} s\n{errors}', flush=True)
    found = json.loads(output.read_text()) if output.is_file() else {}
    return dict(ended=ended, errors=errors, seconds=time.monotonic() - began, **found)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--wheels', type=Path, help='folder of wheels of what this Python lacks')
    parser.add_argument('--output', type=Path, required=True)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--minutes', type=float, default=7.5)
    parser.add_argument('--measure-anyway', action='store_true')
    parser.add_argument('--check-args', default='', help='more arguments of gpu_check.py')
    parser.add_argument('--blocks-args', default='', help='more arguments of blocks.py')
    parser.add_argument('--tails-args', default='', help='more arguments of tails.py')
    parser.add_argument('--detectors-args', default='', help='more arguments of detectors.py')
    args = parser.parse_args(argv)
    end = time.monotonic() + args.minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        env = dict(os.environ)
        paths = [str(HERE.parent)]
        if args.wheels:
            install(args.wheels, folder / 'site')
            paths.insert(0, str(folder / 'site'))
        env['PYTHONPATH'] = os.pathsep.join([*paths, *filter(None, [env.get('PYTHONPATH')])])
        lacking = missing(['torch', 'triton', 'mmengine'], env)
        if lacking:
            raise SystemExit('cannot be measured here, for lack of\n  ' + '\n  '.join(lacking))
        on = ['--device', args.device]
        results = dict(lacking=missing(['mmcv.ops', 'mmdet'], env))

        def left(share):
            return (end - time.monotonic()) * share

        def save():
            part = args.output.with_name(f'{args.output.name}.part')  # whole or absent, without mmattn
            part.write_text(json.dumps(results, indent=1) + '\n')
            part.replace(args.output)

        results['check'] = part(
            'gpu_check.py', on + args.check_args.split(), folder / 'check.json', env, left(0.35)
        )
        save()
        if results['check']['ended'] != 'ok' and not args.measure_anyway:
            print('not measured: what is wrong need not be fast')
            return 1
        share = 1.0 if results['lacking'] else 0.5
        results['blocks'] = part(
            'blocks.py',
            on + ['--compile-seconds', str(int(left(share) * 0.6))] + args.blocks_args.split(),
            folder / 'blocks.json',
            env,
            left(share),
        )
        save()
        if not results['lacking']:
            results['tails'] = part(
                'tails.py',
                on + (args.tails_args or '--dtype bf16 --batch 2 --size 800 1344').split(),
                folder / 'tails.json',
                env,
                left(0.4),
            )
            save()
            results['detectors'] = part(
                'detectors.py',
                on + (args.detectors_args or '--dtypes fp32 bf16 --repeats 10').split(),
                folder / 'detectors.json',
                env,
                left(1.0),
            )
            save()
    print(f'== written: {args.output}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
