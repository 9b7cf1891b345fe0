"""Checkpoints that run code when they are loaded as any pickle is: each creates a file."""

import functools
import os
import pickle
import runpy
import subprocess
import zipfile
from collections import OrderedDict
from io import BytesIO

import numpy as np
import torch


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class State:
    """An object whose pickle calls a function by its state's items."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return OrderedDict, (), None, None, iter([('x', self.value)])


def objects(folder):
    """Objects whose pickles create ``folder/marker``, by how they do it."""
    marker, script = folder / 'marker', folder / 'script.py'
    touch = f'touch {marker}'
    code = f'open({str(marker)!r}, "w").close()'
    script.write_text(code)
    (folder / 'hubconf.py').write_text(f'{code}\ndef model(): return 0\n')
    inner = folder / 'inner.pth'
    torch.save(Call(os.system, touch), inner)
    np.save(folder / 'inner.npy', np.array([Call(os.system, touch)], dtype=object))
    return {
        'system': Call(os.system, touch),
        'eval': Call(eval, code),
        'exec': Call(exec, code),
        'Popen': Call(subprocess.run, ['touch', str(marker)]),
        'run_path': Call(runpy.run_path, str(script)),
        'partial': Call(functools.partial(os.system, touch)),
        'map': Call(list, Call(map, os.system, [touch])),
        'loads': Call(pickle.loads, pickle.dumps(Call(os.system, touch))),
        'torch.load': Call(functools.partial(torch.load, str(inner), weights_only=False)),
        'torch.hub': Call(functools.partial(torch.hub.load, str(folder), 'model', source='local')),
        'numpy.load': Call(functools.partial(np.load, str(folder / 'inner.npy'), allow_pickle=True)),
        'in an OrderedDict': State(Call(os.system, touch)),
    }


def pickles(folder):
    """Pickles written by hand that create ``folder/marker``, by what they hide the function with."""
    command = f'touch {folder / "marker"}'.encode()
    text = b'X' + len(command).to_bytes(4, 'little') + command  # BINUNICODE
    short = b'\x8c' + bytes([len(command)]) + command  # SHORT_BINUNICODE
    return {
        'GLOBAL': b'\x80\x02cposix\nsystem\n' + text + b'\x85R.',
        'protocol 0': b'cposix\nsystem\n(S' + repr(command.decode()).encode() + b'\ntR.',
        'INST': b'(S' + repr(command.decode()).encode() + b'\niposix\nsystem\n.',
        'OBJ': b'(cposix\nsystem\n' + text + b'o.',
        'STACK_GLOBAL': b'\x80\x04\x8c\x05posix\x8c\x06system\x93' + short + b'\x85R.',
        # another name is put over the one in the memo, and the first is fetched from elsewhere
        'memo': b'\x80\x04\x8c\x06system\x94\x8c\x05posix\x94\x8c\x0bcollections\x940h\x010h\x01h\x00\x93'
        + short
        + b'\x85R.',
        'memo overwritten': b'\x80\x04\x8c\x05posixq\x05\x8c\x0bcollectionsq\x06\x8c\x06systemq\x07000'
        b'h\x05h\x07\x93' + short + b'\x85R.',
        'the name in a tuple': b'\x80\x04\x8c\x05posix\x8c\x06system\x86\x94'
        b'0cbuiltins\ngetattr\ncbuiltins\n__import__\n\x8c\x05posix\x85R\x8c\x06system\x86R'
        + short
        + b'\x85R.',
        'DUP and POP': b'\x80\x04\x8c\x05posix2\x8c\x06system2000\x8c\x06system\x93' + short + b'\x85R.',
        'after a whole pickle': b'\x80\x02}.\x80\x02cposix\nsystem\n' + text + b'\x85R.',
    }


def as_zip(pickled, more=()):
    """A checkpoint as ``torch.save`` writes it, of this pickle, with ``more`` entries."""
    return _zip({'archive/data.pkl': pickled, 'archive/version': b'3\n', **dict(more)})


def _zip(*parts):
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for part in parts:
            for name, data in part.items():
                archive.writestr(name, data)
    return buffer.getvalue()


def as_legacy(pickled):
    """A checkpoint as ``torch.save`` wrote it before PyTorch 1.6, of this pickle."""
    empty = BytesIO()
    torch.save({}, empty, _use_new_zipfile_serialization=False)
    data, ends = BytesIO(empty.getvalue()), [0]
    for _ in range(5):
        pickle.load(data)
        ends.append(data.tell())
    whole = empty.getvalue()
    return whole[: ends[3]] + pickled + whole[ends[4] :]


def zip_with_two(first, second):
    """An archive with two entries of one name."""
    return _zip({'archive/data.pkl': first}, {'archive/data.pkl': second, 'archive/version': b'3\n'})


def saved(obj, legacy=False, protocol=2):
    buffer = BytesIO()
    torch.save(obj, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def evil_checkpoint(path):
    """Write a checkpoint of a detector that creates ``marker`` beside it; return the marker's path."""
    marker = path.parent / 'marker'
    state = {'backbone.conv1.weight': torch.zeros(1), 'x': Call(os.system, f'touch {marker}')}
    torch.save(dict(meta={}, state_dict=state, message_hub={}), path)
    return marker
