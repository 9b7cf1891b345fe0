"""A checkpoint that runs code does not, whichever tool it is given to."""

import pytest
import torch
from mmdet.apis import DetInferencer, init_detector
from mmdet.models import ResNet

from mmattn import attach, engine
from mmattn.checkpoints import UntrustedCheckpoint, refuse_code, save_adapter
from mmattn.datasets.shapes import ShapesSettings
from mmattn.demo import run_demo
from tests.squares import as_arguments, small

from ..test_checkpoints.attacks import evil_checkpoint

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'


pytestmark = pytest.mark.usefixtures('in_project')


@pytest.fixture
def evil(tmp_path):
    path = tmp_path / 'evil.pth'
    evil_checkpoint(path)
    (tmp_path / 'last_checkpoint').write_text(str(path))
    yield path
    assert not (tmp_path / 'marker').exists()


@pytest.fixture
def refuses(run_tool, evil):
    """Run a tool; it has to end as at a user's mistake, with what the checkpoint names."""

    def run(tool, *args):
        done = run_tool(tool, *args)
        assert done.code == 2
        assert 'posix.system' in done.err and str(evil) in done.err and '--trust-checkpoint' in done.err

    return run


@pytest.mark.parametrize('loaded_by', ['load_from', 'resume', 'the latest', 'init_cfg'])
def test_train_refuses_code(loaded_by, refuses, evil, squares):
    options, args = small(), []
    if loaded_by == 'load_from':
        options['load_from'] = evil
    elif loaded_by == 'init_cfg':
        options['model.backbone.init_cfg.checkpoint'] = evil
        del options['model.backbone.init_cfg']
    else:
        args = ['--resume', *([evil] if loaded_by == 'resume' else [])]
    refuses(
        'train.py',
        CONFIG,
        '--work-dir',
        evil.parent,
        '--data-root',
        squares,
        *args,
        *as_arguments(options),
    )


def test_test_refuses_code(refuses, evil, squares):
    refuses(
        'test.py', CONFIG, evil, '--work-dir', evil.parent, '--data-root', squares, *as_arguments(small())
    )


def test_show_attention_refuses_code(refuses, evil, squares):
    refuses('show_attention.py', CONFIG, evil, squares / 'images', '--data-root', squares)


@pytest.mark.parametrize('command', ['save', 'save with a base', 'merge', 'check'])
def test_adapter_refuses_code(command, refuses, evil, tmp_path):
    good = tmp_path / 'good.pth'
    torch.save({'state_dict': {'a': torch.zeros(1)}}, good)
    adapter = tmp_path / 'a.safetensors'
    if command in ('merge', 'check'):
        model = ResNet(18, base_channels=16, stem_channels=16)
        attach(model, [dict(at='layer4.*.residual', block=dict(type='mmattn.SE'))])
        save_adapter(model, adapter)
    args = {
        'save': ['save', evil, adapter],
        'save with a base': ['save', good, adapter, '--base', evil],
        'merge': ['merge', evil, adapter, tmp_path / 'out.pth'],
        'check': ['check', evil, adapter],
    }[command]
    refuses('adapter.py', *args)


def test_the_demo_refuses_code(evil, tmp_path):
    with pytest.raises(UntrustedCheckpoint):
        run_demo(
            'configs/shapes/faster-rcnn_r18-cbam_fpn_shapes.py',
            tmp_path / 'shapes',
            tmp_path / 'work',
            dict(load_from=str(evil)),
            ShapesSettings(train=2, val=2),
        )


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('function', [init_detector, lambda *args, **kw: DetInferencer(*args, **kw)])
def test_functions_of_mmdetection_in_a_block_of_ours(function, evil):
    with refuse_code(), pytest.raises(UntrustedCheckpoint, match='posix.system'):
        function('configs/shapes/faster-rcnn_r18-cbam_fpn_shapes.py', str(evil), device='cpu')


def test_a_trusted_one_runs_it(evil, squares, tmp_path):
    with pytest.raises(ValueError, match='is of another model than the config'):  # found after it was read
        engine.test(
            CONFIG,
            str(evil),
            work_dir=str(tmp_path),
            data_root=str(squares),
            cfg_options=small(),
            trust_checkpoint=True,
        )
    (tmp_path / 'marker').unlink()
