"""Shared by the tests of tools: files that are right and wrong."""

import json
import shutil

import mmdet.datasets  # noqa: F401  says once in a process which of them are missing
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mmattn.checkpoints import adapter_of_checkpoint, write_adapter


@pytest.fixture
def corrupt_squares(squares, tmp_path):
    """The easy data with an image that is none: ``images/train_3.png``."""
    data = tmp_path / 'data'
    shutil.copytree(squares, data)
    (data / 'images' / 'train_3.png').write_bytes(b'nothing to see')
    return data


@pytest.fixture(scope='package')
def files(detectors, squares, tmp_path_factory):
    """A folder with a detector that has attention, one that has none, and files that are wrong."""
    folder = tmp_path_factory.mktemp('files')
    shutil.copytree(detectors, folder, dirs_exist_ok=True)
    torch.save(3, folder / 'three.pth')
    changed = torch.load(folder / 'stock.pth')
    changed['state_dict']['backbone.conv1.weight'] += 1
    torch.save(changed, folder / 'changed.pth')
    write_adapter(adapter_of_checkpoint(torch.load(folder / 'detector.pth')), folder / 'adapter.safetensors')
    for name, text in {
        'syntax.py': 'model = dict(\n',
        'raises.py': 'x = 1 / 0\n',
        'no_base.py': "_base_ = './nowhere.py'\n",
        'no_model.py': 'x = 1\n',
        'text.txt': 'hello',
        'empty.pth': '',
        'file': '',
        'broken/a.py': 'model = dict(\n',
        'folder_with_file/mine.txt': '',
        'other_head.py': "_base_ = './detector.py'\nmodel = dict(bbox_head=dict(num_classes=7))\n",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    _write_foreign_onnx(folder)
    for name in ('folder', 'a.pkl'):
        (folder / name).mkdir()
    (folder / 'images').symlink_to(squares / 'images')
    return folder


def _write_foreign_onnx(folder):
    """ONNX files: not ours, ours of a later format, ours of other classes, and none."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ['N', 2]) for name in 'xy']
    graph = helper.make_graph([helper.make_node('Relu', ['x'], ['y'])], 'foreign', ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)
    onnx.save(model, folder / 'foreign.onnx')
    for name, about in dict(
        later=dict(format=99, versions=dict(mmattn='9.9.9')),
        other_classes=dict(format=1, classes=['cat', 'dog']),
    ).items():
        helper.set_model_props(model, dict(mmattn=json.dumps(about)))
        onnx.save(model, folder / f'{name}.onnx')
    (folder / 'text.onnx').write_text('hello')


@pytest.fixture
def in_files(files, monkeypatch):
    """The folder of these files as the current one."""
    monkeypatch.chdir(files)
    for name in ('MMATTN_DATA_ROOT', 'MMATTN_DEBUG', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    return files
