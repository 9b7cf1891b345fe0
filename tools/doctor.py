"""Say what works here, and for each problem the command that mends it.

    python tools/doctor.py            # a table; exit code 1 when something needed is missing
    python tools/doctor.py --json     # the same for programs

Runs with nothing but Python: whatever is missing is a line of the table, not a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from shlex import quote
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
OWN = Path(__file__).resolve().parent / '_doctor'
OK, WARN, FAIL, SKIP = 'ok', 'warn', 'FAIL', '-'
OLDEST_TORCH = '2.4'
# mmattn installed as a wheel carries this file, but neither the pins nor the builder of mmcv.
CHECKOUT = (ROOT / 'requirements').is_dir()


def load(path: Path) -> ModuleType:
    """Import a file by its path, since neither mmattn nor this folder need be importable."""
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Beside tools/ in a checkout; in a wheel, tools/ lies in mmattn/.mim/.
compat = load((ROOT / 'mmattn' if CHECKOUT else ROOT.parent) / '_compat.py')
# Import name -> distributions that provide it, the recommended one first.
PROVIDERS = {
    'torch': ('torch',),
    **compat.PROVIDERS,
    'cv2': ('opencv-python', 'opencv-python-headless'),
    'pycocotools': ('pycocotools',),
    'mmattn': ('mmattn',),
}
REMEDIES = load(OWN / 'remedies.py')


def family() -> str:
    """Return the family whose packages are installed; the forks', if there are both or neither."""
    found = {name for module in compat.PROVIDERS for name in compat.installed(module)}
    return 'openmmlab' if found and not found & {*REMEDIES.FAMILIES['onedl']} else 'onedl'


FIX = REMEDIES.remedies(CHECKOUT, family())
# Each probe runs in an interpreter of its own: one that crashes or hangs is a line of the table.
PROBES = {path.stem.partition('_')[2]: path for path in OWN.glob('probe_*.py')}


def probe(name: str) -> dict:
    """Run one probe; return its report, which has the key 'error' if it failed."""
    code = (
        'import json, runpy, sys, warnings; warnings.simplefilter("ignore"); '
        'print("REPORT" + json.dumps(runpy.run_path(sys.argv[1])["probe"]()))'
    )
    env = dict(os.environ)
    if (ROOT / 'mmattn').is_dir():  # a checkout, installed or not
        env['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), env.get('PYTHONPATH')]))
    try:
        done = subprocess.run(
            [sys.executable, '-c', code, str(PROBES[name])],
            env=env,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    except subprocess.TimeoutExpired:
        return {'error': 'did not end within 5 minutes'}
    for line in done.stdout.splitlines():
        if line.startswith('REPORT'):
            return json.loads(line[len('REPORT') :])
    if done.returncode < 0:
        return {'error': f'crashed with signal {-done.returncode}'}
    last = [line for line in done.stderr.splitlines() if line.strip()] or ['no output']
    if done.returncode == 0:
        return {'error': f'ended without a result; the last it said: {last[-1]}'}
    return {'error': last[-1]}


def distributions(module: str) -> dict[str, str]:
    """Return the installed distributions that provide ``module``, as ``{name: version}``."""
    return compat.versions(PROVIDERS[module])


def importable(module: str) -> bool:
    """Return True if ``module`` can be found; it is not imported."""
    return compat.importable(module)


class Report:
    """The rows of the table."""

    def __init__(self):
        self.rows: list[dict] = []

    def add(self, what: str, found: str, verdict: str = OK, fix: str | None = None) -> None:
        """Add a row."""
        self.rows.append({'what': what, 'found': found, 'verdict': verdict, 'fix': fix})

    def probe(self, what: str, name: str, describe: Callable[[dict], str], fix: str) -> dict | None:
        """Run a probe and add its row; return its report, or None if it failed."""
        result = probe(name)
        if 'error' in result:
            self.add(what, result['error'], FAIL, fix)
            return None
        self.add(what, describe(result))
        return result


def check_python(report: Report) -> None:
    """Check the version of Python."""
    text = f'{platform.python_version()} ({sys.executable})'
    if sys.version_info < (3, 10):  # noqa: UP036, this runs on any
        report.add('python', text + ': 3.10 or later is needed', FAIL, FIX['python'])
    else:
        report.add('python', text)


def check_packages(report: Report) -> set[str]:
    """Check for packages that are missing, too old, or overwrite each other; return those present."""
    present = set()
    for module in PROVIDERS:
        found = distributions(module)
        text = ', '.join(f'{name} {number}' for name, number in found.items())
        if module == 'mmattn' and not found and (ROOT / 'mmattn').is_dir():
            add_uninstalled(report)
            present.add(module)
        elif not importable(module):
            broken = f'{text} is installed, but cannot be imported' if text else 'not installed'
            report.add(module, broken, FAIL, FIX[module])
        else:
            present.add(module)
            if module in compat.PROVIDERS and len(found) > 1:
                keep = next(iter(found))
                report.add(
                    module,
                    f"{text}: both installed, they overwrite each other's files",
                    FAIL,
                    f'pip uninstall -y {" ".join(found)} && '
                    + (FIX[module] if keep.startswith('onedl') else f'pip install {keep}=={found[keep]}'),
                )
            elif 'torch' in found and too_old(found['torch']):
                report.add(module, f'{text}: {OLDEST_TORCH} or later is needed', FAIL, FIX[module])
            else:
                report.add(module, text or 'version unknown (not installed by pip)')
    return present


def add_uninstalled(report: Report) -> None:
    """Add the row of an mmattn that is no more than a folder."""
    if importable('mmattn'):
        report.add('mmattn', 'not installed; found by PYTHONPATH')
    else:
        report.add(
            'mmattn',
            f"not installed; tools/ finds it in {ROOT}. Elsewhere, also in MMDetection's own tools and in "
            "notebooks, a config with type='mmattn...' ends in a KeyError of MMEngine",
            WARN,
            FIX['mmattn'],
        )


def check_python_on_path(report: Report) -> None:
    """Warn if ``python`` is another interpreter than this one, and has no mmattn."""
    python = shutil.which('python')
    code = 'import sys, importlib.util as u; print(sys.prefix); print(bool(u.find_spec("mmattn")))'
    try:
        done = subprocess.run(
            [python or sys.executable, '-c', code], text=True, timeout=60, capture_output=True, cwd=OWN
        )
    except (OSError, subprocess.SubprocessError):
        return
    prefix, has_mmattn = (done.stdout.split('\n') + ['', ''])[:2]
    if done.returncode == 0 and prefix != sys.prefix and has_mmattn != 'True':
        report.add(
            'python on PATH',
            f"{python}, another interpreter, without mmattn: there a config with type='mmattn...' ends in a "
            'KeyError of MMEngine',
            WARN,
            f'export PATH={quote(os.path.dirname(sys.executable))}:$PATH   # or activate the environment',
        )


def too_old(torch: str) -> bool:
    """Return True if this version of PyTorch is older than the oldest supported one."""
    found, oldest = (tuple(map(int, text.split('.')[:2])) for text in (torch, OLDEST_TORCH))
    return found < oldest


def check_machine(report: Report, result: dict) -> None:
    """Check devices and threads, as PyTorch sees them."""
    if result['devices']:
        report.add('device', ', '.join(result['devices']))
    elif result['built_for_cuda']:
        report.add(
            'device',
            f'CPU only (PyTorch is built for CUDA {result["built_for_cuda"]}, but finds no GPU)',
            WARN,
            'nvidia-smi   # if there is one: shows whether its driver works',
        )
    else:
        report.add('device', 'CPU only')
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0.0
    text = (
        f'{result["threads"]} for PyTorch (OMP_NUM_THREADS='
        f'{os.environ.get("OMP_NUM_THREADS", "not set")}), {cpus} processors, load {load:.1f}'
    )
    if result['threads'] > 1 and not result['devices'] and load > cpus / 2:
        report.add(
            'threads',
            text + ': threads that wait for each other on a busy machine are slower than one',
            WARN,
            'export OMP_NUM_THREADS=1',
        )
    else:
        report.add('threads', text)


def check_attention(report: Report) -> None:
    """Check that the fastest backend of this machine computes attention (docs/speed.md)."""
    result = probe('attention')
    if 'error' in result:
        report.add('fast attention', result['error'], FAIL, FIX['mmattn'])
    elif result['missing']:
        fix = (
            'pip install triton   # the version that your PyTorch names'
            if result['device'] == 'cuda'
            else 'apt-get install gcc   # or another C compiler, named by the variable CC'
        )
        report.add('fast attention', f'no, by {result["by"]}: {result["missing"]}', WARN, fix)
    else:
        report.add('fast attention', f'by {result["by"]}, run on {result["device"]}')


def check_weights(report: Report) -> None:
    """Check that the pretrained weights of mmattn's configs are in the cache, or can be fetched."""
    result = probe('weights')
    if 'error' in result:
        report.add('pretrained weights', result['error'], FAIL, FIX['mmattn'])
        return
    missing, folder = result['missing'], result['folder']
    if not missing:
        report.add('pretrained weights', f'in {folder}')
    elif not result['unreachable']:
        report.add('pretrained weights', f'{", ".join(missing)}: fetched into {folder} when first needed')
    else:
        report.add(
            'pretrained weights',
            f'{", ".join(missing)}: not in {folder}, and cannot be fetched ({result["unreachable"]})',
            WARN,
            f'mkdir -p {quote(folder)} && cd {quote(folder)} && curl -O {" -O ".join(missing.values())}   '
            '# those that your configs name; or copy the files from another machine',
        )


def check_configs(report: Report) -> None:
    """Check that a config may have one of MMDetection as its base."""
    result = probe('configs')
    if 'error' in result:
        fix = 'setuptools' if 'pkg_resources' in result['error'] else 'detector'
        report.add("mmdet's configs", result['error'], FAIL, FIX[fix])
    else:
        report.add("mmdet's configs", 'found by name (mmdet::...)')


def check_checkpoints(report: Report) -> None:
    """Check that MMEngine by itself loads what its runner saves; the tools of mmattn do in any case."""
    result = probe('checkpoints')
    if 'error' in result:
        report.add('checkpoints', result['error'], FAIL, FIX['detector'])
    elif result['refused']:
        report.add(
            'checkpoints',
            f"MMEngine's runner cannot load its own ({result['refused']}); the tools of mmattn can",
            WARN,
            FIX['checkpoints'],
        )
    else:
        report.add('checkpoints', 'saved and loaded by MMEngine')


def check_detectors(report: Report, possible: bool) -> None:
    """Check a small Faster R-CNN as MMDetection has it, and the same with attention."""
    result = probe('detector') if possible else None
    for what, name in (('a detector', 'plain'), ('with attention', 'with_attention')):
        if result is None:
            report.add(what, 'not tried: something above is missing', SKIP)
            continue
        seconds = result.get(name, result.get('error'))
        if isinstance(seconds, float):
            report.add(what, f'forward, backward, detections on {result["device"]} in {seconds} s')
        else:
            report.add(what, seconds, FAIL, FIX['detector'])


def examine() -> Report:
    """Check everything."""
    report = Report()
    check_python(report)
    present = check_packages(report)
    check_python_on_path(report)
    torch = None
    if 'torch' in present:
        torch = report.probe('PyTorch runs', 'torch', lambda found: 'yes', FIX['torch'])
        if torch:
            check_machine(report, torch)
    if 'cv2' in present:
        report.probe('OpenCV runs', 'cv2', lambda found: 'yes', FIX['cv2'])
    ops = None
    if torch and {'mmengine', 'mmcv'} <= present:
        ops = report.probe(
            "mmcv's ops", 'ops', lambda found: f'compiled, run on {found["device"]}', FIX['ops']
        )
    else:
        report.add("mmcv's ops", 'not tried: something above is missing', SKIP)
    if torch and 'mmengine' in present:
        check_checkpoints(report)
    if torch and {'mmengine', 'mmcv', 'mmdet'} <= present:
        check_configs(report)
    if torch and {'mmengine', 'mmattn'} <= present:
        check_attention(report)
    if torch and {'mmengine', 'mmcv', 'mmdet', 'mmattn'} <= present:
        check_weights(report)
    check_detectors(report, bool(ops) and {'mmdet', 'mmattn'} <= present)
    return report


def table(report: Report) -> str:
    """Return the table for the screen, with what to do about each problem."""
    width = max(len(row['what']) for row in report.rows)
    lines = [f'{row["verdict"]:4}  {row["what"]:{width}}  {row["found"]}' for row in report.rows]
    problems = [row for row in report.rows if row['fix']]
    if problems:
        where = f', in {ROOT}' if CHECKOUT else ''
        lines += ['', f'What to do{where}, with the environment of {sys.executable} active:']
        # The same remedy for several lines is said once.
        same: dict[str, list[str]] = {}
        for row in problems:
            same.setdefault(row['fix'], []).append(row['what'])
        lines += [f'  {", ".join(names)}: {fix}' for fix, names in same.items()]
    failed = sum(row['verdict'] == FAIL for row in report.rows)
    if failed:
        lines += ['', f'{failed} problem{"s" * (failed > 1)}: something needed is missing.']
    else:
        lines += ['', 'Everything needed is here and works.']
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    args = parser.parse_args()
    report = examine()
    print(json.dumps(report.rows, indent=1) if args.json else table(report))
    sys.exit(any(row['verdict'] == FAIL for row in report.rows))


if __name__ == '__main__':
    main()
