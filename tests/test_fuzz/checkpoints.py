"""Mutated checkpoints: cut off, with bits flipped, other formats and contents, for every tool."""

from __future__ import annotations

import copy
import io
import json
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from tests.test_fuzz.arena import Arena, Done, metrics_of_test, trained
from tests.test_fuzz.case import DELETED, EITHER, REFUSED, SAME, TRAINS, Case

# What a file is given to, and which file that is.
USES = {
    'load_from': 'weights',
    'load_from of a stock detector': 'stock',
    'resume': 'run',
    'resume the latest': 'run',
    'test': 'weights',
    'adapter save': 'weights',
    'adapter merge': 'stock',
    'adapter check': 'stock',
    'adapter list': 'adapter',
    'adapter merge of an adapter': 'adapter',
}
NAN = float('nan')
ODD = [DELETED, None, 0, -1, 2.5, NAN, '', 'x', [], [1], {}, {'a': 1}, True, torch.zeros(2), torch.zeros(0)]


def saved(content: Any, **options: Any) -> bytes:
    """The bytes that ``torch.save`` writes."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def entries_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def tarred(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def numpy_file(save: Callable, content: Any) -> bytes:
    file = io.BytesIO()
    save(file, content)
    return file.getvalue()


# Files of other formats, none of which is a checkpoint.
OTHER_FORMATS: dict[str, Callable[[bytes], bytes]] = {
    'empty': lambda data: b'',
    'one byte': lambda data: b'\x80',
    'text': lambda data: b'hello\n',
    'JSON': lambda data: json.dumps(dict(state_dict=dict(a=1))).encode(),
    'a web page': lambda data: b'<!DOCTYPE html><html><body>Not Found</body></html>',
    'a pointer of Git LFS': lambda data: (
        b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n'
    ),
    'ONNX': lambda data: b'\x08\x07\x12\x07pytorch:\x0a' + b'\x0a\x05graph' * 20,
    'zip without pickle': lambda data: zipped({'a.txt': b'hello'}),
    'empty zip': lambda data: zipped({}),
    'zip in a zip': lambda data: zipped({'detector.pth': data}),
    'compressed zip without pickle': lambda data: zipped({'archive/a': b'x' * 999}, zipfile.ZIP_DEFLATED),
    'zip with two pickles': lambda data: zipped({**entries_of(data), 'other/data.pkl': b'\x80\x02}.'}),
    'zip without storages': lambda data: zipped(
        {name: each for name, each in entries_of(data).items() if '/data/' not in name}
    ),
    'zip with short storages': lambda data: zipped(
        {name: each[:2] if '/data/' in name else each for name, each in entries_of(data).items()}
    ),
    'tar': lambda data: tarred('detector.pth', data),
    'gzip': lambda data: b'\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03' + data[:200],
    'npy': lambda data: numpy_file(np.save, np.zeros(9)),
    'npz': lambda data: numpy_file(lambda file, a: np.savez(file, a=a), np.zeros(9)),
    'HDF5': lambda data: b'\x89HDF\r\n\x1a\n' + b'\x00' * 512,
    'PNG': lambda data: b'\x89PNG\r\n\x1a\n' + b'\x00' * 64,
    'zeros': lambda data: b'\x00' * 4096,
    'a pickle of a number': lambda data: pickle.dumps(3),
    'a pickle of weights': lambda data: pickle.dumps(dict(state_dict=dict(a=[1.0]))),
    'a pickle that never ends': lambda data: b'\x80\x02' + b'(' * 50000,
    'a number': lambda data: saved(3),
    'a tensor': lambda data: saved(torch.zeros(3)),
    'a list': lambda data: saved([torch.zeros(3)]),
    'nothing': lambda data: saved({}),
    'an empty state_dict': lambda data: saved(dict(state_dict={}, meta={})),
    'a state_dict of None': lambda data: saved(dict(state_dict=None, meta={})),
    'a state_dict that is a list': lambda data: saved(dict(state_dict=[torch.zeros(1)])),
    'numbers as names': lambda data: saved(dict(state_dict={1: torch.zeros(1)})),
    'a module': lambda data: saved(torch.nn.Linear(2, 2)),
    'a function': lambda data: saved(dict(state_dict=dict(a=print))),
}


def weights_of(change: Callable[[dict], Any]) -> Callable[[dict], dict]:
    """Change the state dict of a checkpoint."""

    def apply(checkpoint: dict) -> dict:
        checkpoint['state_dict'] = change(checkpoint['state_dict']) or checkpoint['state_dict']
        return checkpoint

    return apply


def tensors(change: Callable[[torch.Tensor], Any]) -> Callable[[dict], dict]:
    """Change all weights that are numbers with a point."""
    return weights_of(
        lambda state: OrderedDict(
            (key, change(value) if value.is_floating_point() else value) for key, value in state.items()
        )
    )


# The same weights, written otherwise; what is loaded has the same bits.
REWRITTEN: dict[str, Callable[[dict], dict]] = {
    'unchanged': lambda checkpoint: checkpoint,
    'the prefix of a distributed model': weights_of(
        lambda state: OrderedDict((f'module.{key}', value) for key, value in state.items())
    ),
    'more keys': lambda checkpoint: {**checkpoint, 'note': 'x', 'more': [1, None, (2.5, {'a': b'x'})]},
    'in double precision': tensors(torch.Tensor.double),
    'a plain dict': weights_of(dict),
    'not contiguous': tensors(lambda t: t.t().contiguous().t() if t.dim() == 2 else t),
    'with gradients': tensors(lambda t: t.clone().requires_grad_()),
    'NumPy numbers in meta': lambda checkpoint: {
        **checkpoint, 'meta': {**checkpoint['meta'], 'more': np.float64(2.5), 'array': np.zeros(3)}
    },
}  # fmt: skip
ONLY_WEIGHTS: dict[str, Callable[[dict], dict]] = {
    'a bare state_dict': lambda checkpoint: checkpoint['state_dict'],
    'no meta': lambda checkpoint: dict(state_dict=checkpoint['state_dict']),
    'meta None': lambda checkpoint: dict(state_dict=checkpoint['state_dict'], meta=None),
}
# Other weights, with which a new training starts.
OTHER_WEIGHTS: dict[str, Callable[[dict], dict]] = {
    'a part of the weights': weights_of(
        lambda state: OrderedDict((k, v) for k, v in state.items() if k.startswith('backbone.layer'))
    ),
    'other names': weights_of(
        lambda state: OrderedDict((f'x.{k}', v) for k, v in state.items() if v.dim() > 1)
    ),
    'half precision': tensors(torch.Tensor.half),
    'bfloat16': tensors(torch.Tensor.bfloat16),
}
NOT_FINITE = {'NaN': NAN, 'infinite': float('inf')}
# Paths in the checkpoint of a run whose values a resumed run reads.
RECORDS = [
    'meta', 'meta.epoch', 'meta.iter', 'meta.seed', 'meta.dataset_meta', 'meta.experiment_name', 'optimizer',
    'optimizer.state', 'optimizer.param_groups', 'message_hub', 'message_hub.log_scalars',
    'message_hub.runtime_info', 'message_hub.resumed_keys', 'param_schedulers', 'exact_resume',
    'exact_resume.seed', 'exact_resume.skip', 'exact_resume.sampler_seeds', 'exact_resume.unsaved',
    'exact_resume.evaluated', 'exact_resume.optimizer', 'state_dict',
]  # fmt: skip


# Keys of the record of the attention, which is JSON in a tensor, and of its first block.
SPEC = ['format', 'mmattn', 'detector', 'insert', 'at', 'block', 'order', 'freeze_with_host', 'type', 'start']
ODD_JSON = [
    DELETED,
    None,
    0,
    -1,
    10**30,
    2.5,
    True,
    '',
    'x',
    'os.system',
    [],
    [1],
    [[]],
    {},
    {'a': 1},
    {'type': 'x'},
]
ODD_TEXT = [
    b'',
    b'{',
    b'null',
    b'[]',
    b'{"format": 1, "insert": [3]}',
    b'\xff\xfe',
    b'[' * 9999,
    b'{"format": 1}',
]


def checkpoint_case(mutation: str, outcome: str, use: str, *change: Any, says: tuple[str, ...] = ()) -> Case:
    """A case of a checkpoint; the message of a refusal names the file, unless ``says`` has other words."""
    return Case('checkpoints', mutation, outcome, change, says or ('input.',), use)


@st.composite
def cases(draw) -> Case:
    use = draw(st.sampled_from(list(USES)))
    adapter = USES[use] == 'adapter'
    ways = ['cut', 'flip', 'bytes', 'format', 'format']
    ways += [] if adapter else ['legacy cut', 'rewritten', 'weights', 'not finite', 'legacy flip', 'archive']
    ways += ['spec', 'spec'] if USES[use] in ('weights', 'run') else []
    ways += ['record', 'record', 'record'] if USES[use] == 'run' else []
    way = draw(st.sampled_from(ways))
    place = draw(st.integers(0, 2**40))
    legacy = way.startswith('legacy')
    if way.endswith('cut'):
        return cut_case(use, legacy, place)
    if way.endswith('flip'):
        bits = draw(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 7)), min_size=1, max_size=3))
        return checkpoint_case(
            f'bits flipped{" in the old format" * legacy}', EITHER, use, 'flip', legacy, tuple(bits)
        )
    if way == 'bytes':
        change = draw(st.sampled_from(['removed', 'added', 'zeros', 'appended']))
        return checkpoint_case(f'bytes {change}', EITHER, use, 'bytes', change, place)
    if way == 'format':
        name = draw(st.sampled_from(list(OTHER_FORMATS)))
        if adapter and name in ('zip with two pickles', 'zip without storages', 'zip with short storages'):
            name = 'zip in a zip'
        if use == 'resume the latest':
            return checkpoint_case(
                f'another format: {name}', REFUSED, use, 'format', name, says=('iter_1.pth',)
            )
        return checkpoint_case(f'another format: {name}', REFUSED, use, 'format', name)
    if way == 'archive':
        return checkpoint_case('a compressed archive', EITHER, use, 'archive')
    if way == 'not finite':
        name = draw(st.sampled_from(list(NOT_FINITE)))
        says = ('nan', 'infinite', 'not those')
        return checkpoint_case(f'a weight that is {name}', REFUSED, use, 'not finite', name, place, says=says)
    if way == 'record':
        path, value = draw(st.sampled_from(RECORDS)), draw(st.sampled_from(range(len(ODD))))
        return checkpoint_case(f'a record of a run: {path}', EITHER, use, 'record', path, value)
    if way == 'spec':
        key = draw(st.sampled_from([*SPEC, 'text']))
        return checkpoint_case(f'the spec of the attention: {key}', EITHER, use, 'spec', key, place)
    if way == 'rewritten':
        tables = {'same': REWRITTEN} if USES[use] == 'run' else {'same': REWRITTEN, 'weights': ONLY_WEIGHTS}
        names = [name for table in tables.values() for name in table]
        name = draw(st.sampled_from(names))
        changed = use in ('adapter merge', 'adapter check') and name == 'in double precision'
        outcome = REFUSED if changed else TRAINS if use == 'adapter save' and name != 'unchanged' else SAME
        if use.startswith('adapter') and name == 'in double precision' and use == 'adapter save':
            outcome = TRAINS
        old = draw(st.booleans())
        return checkpoint_case(f'rewritten: {name}', outcome, use, 'content', name, old, says=('not those',))
    name = draw(st.sampled_from(list(OTHER_WEIGHTS)))
    outcome = TRAINS if use.startswith('load_from') or use == 'test' else EITHER
    return checkpoint_case(f'other weights: {name}', outcome, use, 'content', name, False)


def cut_case(use: str, legacy: bool, place: int) -> Case:
    """A file that is cut off: refused, wherever it is cut; the latest of a run has none before it here."""
    name = f'cut off{" in the old format" * legacy}'
    return checkpoint_case(name, REFUSED, use, 'cut', legacy, place, says=('input.', 'iter_1.pth'))


CASE = cases()


def mutated(data: bytes, change: tuple) -> bytes:
    """The bytes of a mutated file."""
    way, *rest = change
    if way == 'cut':
        data = legacy(data) if rest[0] else data
        return data[: rest[1] % len(data)]
    if way == 'flip':
        changed = bytearray(legacy(data) if rest[0] else data)
        for place, bit in rest[1]:
            changed[place % len(changed)] ^= 1 << bit
        return bytes(changed)
    if way == 'bytes':
        at = rest[1] % len(data)
        return {
            'removed': data[:at] + data[at + 3 :],
            'added': data[:at] + b'\x00\x01\x02' + data[at:],
            'zeros': data[:at] + b'\x00' * 512 + data[at + 512 :],
            'appended': data + b'more',
        }[rest[0]]
    if way == 'format':
        return OTHER_FORMATS[rest[0]](data)
    if way == 'archive':
        return zipped(entries_of(data), zipfile.ZIP_DEFLATED)
    checkpoint = load(data)
    if way == 'not finite':
        names = [key for key, value in checkpoint['state_dict'].items() if value.is_floating_point()]
        tensor = checkpoint['state_dict'][names[rest[1] % len(names)]]
        tensor.view(-1)[rest[1] % tensor.numel()] = NOT_FINITE[rest[0]]
    elif way == 'spec':
        key = 'attention._extra_state'
        text = mutated_spec(bytes(checkpoint['state_dict'][key].tolist()), *rest)
        checkpoint['state_dict'][key] = torch.tensor(list(text), dtype=torch.uint8)
    elif way == 'record':
        replace(checkpoint, rest[0], ODD[rest[1]])
    else:
        name, old = rest
        checkpoint = (REWRITTEN | ONLY_WEIGHTS | OTHER_WEIGHTS)[name](checkpoint)
        return saved(checkpoint, _use_new_zipfile_serialization=not old)
    return saved(checkpoint)


def mutated_spec(text: bytes, key: str, place: int) -> bytes:
    """The record of the attention with another value of a key, or another text."""
    if key == 'text':
        return ODD_TEXT[place % len(ODD_TEXT)]
    spec = json.loads(text)
    first = spec['insert'][0]
    node = next(each for each in (spec, first, first['block']) if key in each)
    replace(node, key, ODD_JSON[place % len(ODD_JSON)])
    return json.dumps(spec).encode()


def load(data: bytes) -> dict:
    return torch.load(io.BytesIO(data), weights_only=False)


def legacy(data: bytes) -> bytes:
    """The same checkpoint in the format of before PyTorch 1.6."""
    return saved(load(data), _use_new_zipfile_serialization=False)


def replace(node: dict, path: str, value: Any) -> None:
    first, _, rest = path.partition('.')
    if rest:
        replace(node[first], rest, value)
    elif value is DELETED:
        node.pop(first, None)
    else:
        node[first] = copy.deepcopy(value)


def inputs(arena: Arena) -> dict[str, bytes]:
    """The files that are mutated: weights, weights of a stock detector, a run's checkpoint, an adapter."""
    if not arena.inputs:
        folder = arena.case_folder()
        config = arena.write_config(folder / 'config.py')
        done = arena.run('train.py', config, '--work-dir', folder / 'work', cwd=folder)
        assert not done.code, done.error or done.err
        weights = arena.folder / 'detector.pth'
        done = arena.run('adapter.py', 'save', weights, folder / 'adapter.safetensors')
        assert not done.code, done.error or done.err
        detector, stock = load(weights.read_bytes()), load((arena.folder / 'stock.pth').read_bytes())
        own = {key: value for key, value in detector['state_dict'].items() if key in stock['state_dict']}
        stock['state_dict'] = OrderedDict(own)  # the detector of the adapter
        arena.inputs = dict(
            weights=weights.read_bytes(),
            stock=saved(stock),
            run=(folder / 'work/iter_1.pth').read_bytes(),
            adapter=(folder / 'adapter.safetensors').read_bytes(),
        )
    return arena.inputs


def apply(arena: Arena, case: Case, folder: Path) -> tuple[str, list]:
    """Write the mutated file; return the tool that it is given to, and its arguments."""
    files = inputs(arena)
    which = USES[case.use]
    path = folder / ('input.safetensors' if which == 'adapter' else 'input.pth')
    path.write_bytes(mutated(files[which], case.change) if case.change else files[which])
    if case.use.startswith('adapter'):
        (folder / 'input_stock.pth').write_bytes(files['stock'])
        (folder / 'input_adapter.safetensors').write_bytes(files['adapter'])
        command = {
            'adapter save': ['save', path, 'out.safetensors'],
            'adapter merge': ['merge', path, 'input_adapter.safetensors', 'out.pth'],
            'adapter check': ['check', path, 'input_adapter.safetensors'],
            'adapter list': ['list', path],
            'adapter merge of an adapter': ['merge', 'input_stock.pth', path, 'out.pth'],
        }
        return 'adapter.py', command[case.use]
    config = copy.deepcopy(arena.config)
    arguments = ['--work-dir', folder / 'work']
    if case.use.startswith('resume'):
        config['train_cfg'].update(max_iters=2, val_interval=2)
    if case.use.startswith('load_from'):
        config['load_from'] = str(path)
    elif case.use == 'resume':
        arguments += ['--resume', path]
    elif case.use == 'resume the latest':
        (folder / 'work').mkdir()
        path.rename(folder / 'work/iter_1.pth')
        (folder / 'work/last_checkpoint').write_text(str(folder / 'work/iter_1.pth'))
        arguments += ['--resume']
    config = arena.write_config(folder / 'input.py', config)
    if case.use == 'test':
        return 'test.py', [config, path, *arguments]
    return 'train.py', [config, *arguments]


def result(folder: Path, case: Case, done: Done) -> dict | str:
    """What came of it: losses, metrics, or the files that an adapter's command wrote."""
    if case.use.startswith('adapter'):
        written = {'adapter save': 'out.safetensors', 'adapter merge': 'out.pth'}.get(case.use)
        if written is None:
            return {}
        path = folder / written
        if not path.is_file():
            return f'exit code 0, but {written} was not written'
        if written == 'out.safetensors':
            return dict(adapter=path.read_bytes())
        return dict(weights={k: v.tolist() for k, v in load(path.read_bytes())['state_dict'].items()})
    if case.use == 'test':
        return metrics_of_test(folder / 'work')
    return trained(folder / 'work')


def baseline(arena: Arena, case: Case) -> dict | str:
    """What comes of the unchanged file."""
    if case.use not in arena.baselines:
        folder = arena.case_folder()
        unchanged = Case('checkpoints', 'none', SAME, (), (), case.use)
        tool, arguments = apply(arena, unchanged, folder)
        done = arena.run(tool, *arguments, cwd=folder)
        arena.baselines[case.use] = result(folder, unchanged, done)
    return arena.baselines[case.use]
