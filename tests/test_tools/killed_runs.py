"""Kill trainings at random moments, resume them with tools/train.py, and compare with uninterrupted ones.

python -m tests.test_tools.killed_runs FOLDER --settings epochs iterations --kills 3 --seed 0

Each run is a process forked from this one, which has imported everything, so a start takes no time. The
moments follow from the seed; they and where each run resumed are printed as JSON.
"""

import argparse
import json
import os
import random
import runpy
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import torch

from tests.squares import as_arguments, write_squares

ROOT = Path(__file__).parents[2]
CONFIG, BY_ITERATION = 'tests/test_tools/shaky_config.py', 'tests/test_tools/shaky_iterations_config.py'
BY_EPOCH = {
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 1,
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.checkpoint.max_keep_ckpts': 1,
}
WORKERS = {'train_dataloader.num_workers': 2}

SETTINGS = {
    'epochs': BY_EPOCH,
    # 8 iterations an epoch: the checkpoints of epochs wait for the third of three accumulated gradients
    'accumulation': {
        **BY_EPOCH,
        **WORKERS,
        'train_dataloader.persistent_workers': True,
        'optim_wrapper.accumulative_counts': 3,
    },
    'in-epochs': {
        **BY_EPOCH,
        **WORKERS,
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.interval': 3,
    },
    'iterations': {'train_dataloader.sampler.type': 'InfiniteSampler'},
    'rounds': WORKERS,  # DefaultSampler, which begins anew after each round
    # checkpoints in epochs, when the processes have other statistics of norms
    'processes': {
        **BY_EPOCH,
        'train_dataloader.batch_size': 1,
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.interval': 3,
    },
}
PROCESSES = {'processes': 2}
SAVING = ('half written', 'before the renaming', 'before last_checkpoint', 'before the removal')


def moments(generator, number):
    """Where to kill: about one in three in the middle of saving, the others in steps and evaluations."""
    for i in range(number):
        if i % 3 == 1:
            yield dict(saving=generator.choice(SAVING), after=generator.randrange(2))
        elif generator.random() < 0.2:
            yield dict(evaluation=generator.randrange(4), delay=0.1 * generator.random())
        else:
            yield dict(step=generator.randrange(2, 14), delay=0.3 * generator.random())


def arm(moment):
    """Let this process kill itself at a moment."""
    from mmengine.runner import Runner

    from mmattn import files
    from mmattn.hooks import checkpoint_hook

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    stage, left = moment.get('saving'), [moment.get('after', 0)]

    def at(wanted, path='.pth'):
        if stage != wanted or not str(path).endswith('.pth'):
            return
        if not left[0]:
            kill()
        left[0] -= 1

    write, replace = files._write, os.replace

    def written(file, content):
        if stage == 'half written' and '.pth.' in file.name and not left[0]:
            file.write(content[: len(content) // 2])
            file.flush()
            kill()
        left[0] -= stage == 'half written' and '.pth.' in file.name
        write(file, content)

    def replaced(part, path):
        at('before the renaming', path)
        replace(part, path)
        at('before last_checkpoint', path)

    files._write, os.replace = written, replaced
    remove = checkpoint_hook._remove
    checkpoint_hook._remove = lambda backend, path: (at('before the removal', path), remove(backend, path))

    call, steps = Runner.call_hook, [0]

    def called(self, name, **kwargs):
        call(self, name, **kwargs)
        steps[0] += name == 'before_train_iter'
        if (name, steps[0]) == ('before_train_iter', moment.get('step')) or (
            name == 'before_val_iter' and kwargs['batch_idx'] == moment.get('evaluation')
        ):
            threading.Timer(moment['delay'], kill).start()

    Runner.call_hook = called


def start(arguments, log, moment=None, environment=None):
    """Fork a process that runs tools/train.py."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ.update(environment or {})
        with open(log, 'a') as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        if moment is not None:
            arm(moment)
        sys.argv = ['tools/train.py', *map(str, arguments)]
        runpy.run_path('tools/train.py', run_name='__main__')
        code = 0
    except SystemExit as exit:
        code = exit.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def train(arguments, log, processes, moment=None, port=0):
    """Run to the end, or until a kill; return the signal, None at the end of training."""
    if processes > 1:
        common = dict(WORLD_SIZE=str(processes), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
        children = [
            start(
                [*arguments, '--launcher', 'pytorch'],
                f'{log}.{rank}' if rank else log,
                moment if rank == 0 else None,
                dict(common, RANK=str(rank), LOCAL_RANK=str(rank)),
            )
            for rank in range(processes)
        ]
    else:
        children = [start(arguments, log, moment)]
    status = os.waitpid(children[0], 0)[1]
    for child in children[1:]:
        if os.WIFSIGNALED(status):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        raise SystemExit(Path(log).read_text()[-5000:])
    return None


def free_port():
    import socket

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def outcome(work_dir):
    """The last checkpoint of a finished run."""
    path = Path((work_dir / 'last_checkpoint').read_text())
    return torch.load(path, weights_only=False)


def differences(one, other, path=''):
    """Where two checkpoints differ in weights, moving averages, optimizer, schedulers or metrics."""
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [f'{path}: {(one.double() - other.double()).abs().max().item()}']
    if isinstance(one, dict):
        found = [] if one.keys() == other.keys() else [f'{path}: {one.keys() ^ other.keys()}']
        return found + [
            each
            for key in one.keys() & other.keys()
            for each in differences(one[key], other[key], f'{path}.{key}')
        ]
    if isinstance(one, (list, tuple)):
        found = [] if len(one) == len(other) else [f'{path}: {len(one)} and {len(other)}']
        return found + [
            each for i, pair in enumerate(zip(one, other)) for each in differences(*pair, f'{path}.{i}')
        ]
    return [] if one == other or one != one else [f'{path}: {one} and {other}']


def compared(checkpoint):
    """What of a checkpoint must be the same to the last bit."""
    keys = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'exact_resume')
    return {key: checkpoint[key] for key in keys} | {
        'position': [checkpoint['meta'][key] for key in ('epoch', 'iter')]
    }


def metrics(work_dir):
    """The last metrics that each folder of logs has, by step."""
    found = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in map(json.loads, path.read_text().splitlines()):
            if 'coco/bbox_mAP' in line:
                found[line['step']] = {key: value for key, value in line.items() if key.startswith('coco')}
    return found


def compare(folder, name, kills, seed):
    """Compare a run of one setting that is killed and resumed with one that is not."""
    generator = random.Random(f'{name} {seed}')
    options, processes = SETTINGS[name], PROCESSES.get(name, 1)
    squares, log = folder / 'squares', folder / f'{name}.log'
    if not squares.exists():
        write_squares(squares, val=4)

    def arguments(work_dir, *more):
        config = BY_ITERATION if name in ('iterations', 'rounds') else CONFIG
        return [config, '--data-root', squares, '--work-dir', work_dir, *more, *as_arguments(options)]

    began = time.monotonic()
    whole, killed = folder / f'{name}_whole', folder / f'{name}_killed'
    for old in (whole, killed):
        shutil.rmtree(old, ignore_errors=True)
    train(arguments(whole), log, processes, port=free_port())
    recorded = []
    last = killed / 'last_checkpoint'
    for moment in moments(generator, kills):
        for _ in range(2):  # a run that had less left than that came to its end: it is begun anew, once
            resumed = last.read_text() if last.exists() else None
            ended_by = train(arguments(killed, '--resume'), log, processes, moment, free_port())
            if last.exists():
                torch.load(last.read_text(), weights_only=False)  # whole
            if ended_by == signal.SIGKILL:
                break
            shutil.rmtree(killed)
        recorded.append(
            dict(moment, resumed=resumed and Path(resumed).name, killed=ended_by == signal.SIGKILL)
        )
    train(arguments(killed, '--resume'), log, processes, port=free_port())
    found = differences(compared(outcome(whole)), compared(outcome(killed)))
    one, other = metrics(whole), metrics(killed)
    if max(one) not in other or any(other[step] != one.get(step) for step in other):
        found.append(f'metrics: {one} and {other}')
    leftovers = [path.name for path in killed.iterdir() if path.name.endswith('.part')]
    checkpoints = [sorted(path.name for path in each.glob('*.pth')) for each in (whole, killed)]
    if leftovers or checkpoints[0] != checkpoints[1]:
        found.append(f'files: {leftovers}, {checkpoints}')
    return dict(
        setting=name,
        seed=seed,
        kills=recorded,
        differences=found[:5],
        seconds=round(time.monotonic() - began, 1),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--settings', nargs='+', choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument('--kills', type=int, nargs='+', default=[3], help='of each setting, or of all')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    os.chdir(ROOT)
    import mmdet.apis  # noqa: F401
    from mmdet.utils import register_all_modules

    import tests.test_tools.shaky  # noqa: F401

    register_all_modules(init_default_scope=False)
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    kills = args.kills * len(args.settings) if len(args.kills) == 1 else args.kills
    for name, number in zip(args.settings, kills, strict=True):
        print(json.dumps(compare(args.folder, name, number, args.seed)), flush=True)


if __name__ == '__main__':
    main()
