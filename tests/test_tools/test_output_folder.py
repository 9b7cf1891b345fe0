"""Whatever an annotation file calls its images, nothing is written outside the output folder."""

import json

import cv2
import pytest

from mmattn import engine
from mmattn.visualization.from_files import show_detectors

from ..squares import small, write_squares

CONFIG = 'configs/cbam/retinanet_r18-cbam_fpn_folder.py'


@pytest.fixture(scope='module')
def odd_names(tmp_path_factory):
    """A data set whose images lie elsewhere, by names that climb out of the folder, and by whole paths."""
    folder = tmp_path_factory.mktemp('odd')
    root = write_squares(folder / 'data' / 'squares', train=4, val=4)
    elsewhere = folder / 'elsewhere'
    elsewhere.mkdir()
    for part in ('train', 'val'):
        path = root / 'annotations' / f'{part}.json'
        content = json.loads(path.read_text())
        first, second, third, _ = content['images']
        image = cv2.imread(str(root / 'images' / first['file_name']))
        for each, name in (
            (first, f'../../../elsewhere/{part}.png'),
            (second, str(elsewhere / f'{part}_2.png')),
        ):
            each['file_name'] = name
            cv2.imwrite(str(root / 'images' / name), image)
        third['file_name'] = f'./..{part}.png'
        cv2.imwrite(str(root / 'images' / third['file_name']), image)
        path.write_text(json.dumps(content))
    return root


def files_below(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}


@pytest.fixture
def only_in(odd_names, request, monkeypatch, tmp_path):
    """Compare all files around the data, the project and the test before and after."""
    project = request.config.rootpath
    monkeypatch.chdir(project)
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)

    def files():
        around = files_below(odd_names.parents[1]) | files_below(tmp_path)
        around |= {path: 0 for folder in ('configs', 'work_dirs') for path in (project / folder).rglob('*')}
        own = tmp_path / 'out'
        return {
            path: time
            for path, time in around.items()
            if own not in path.parents and '__pycache__' not in path.parts
        }

    before = files()
    yield tmp_path / 'out'
    assert files() == before


@pytest.mark.slow
def test_training_testing_and_showing(odd_names, only_in):
    options = small(train_cfg__max_epochs=1, train_cfg__val_interval=1)
    options['custom_hooks'] = [{'type': 'mmattn.AttentionMapHook', 'pictures': 4}]
    options['visualizer.vis_backends'] = [dict(type='LocalVisBackend')]
    options['visualizer.name'] = 'output_folder'  # not that of an earlier runner in this process
    engine.train(CONFIG, str(only_in / 'work'), data_root=str(odd_names), cfg_options=options)
    checkpoint = str(only_in / 'work' / 'epoch_1.pth')
    drawn = {path.name for path in only_in.rglob('attention_*.png')}
    assert len(drawn) == 4
    engine.test(
        CONFIG,
        checkpoint,
        str(only_in / 'test'),
        out=str(only_in / 'test' / 'out.pkl'),
        show_dir='painted',
        data_root=str(odd_names),
        cfg_options=small(visualizer__name='output_folder_test'),
    )
    assert len(list(only_in.rglob('painted/*.png'))) == 4
    show_detectors(
        [(CONFIG, checkpoint)],
        dataset='val',
        out_dir=str(only_in / 'shown'),
        data_root=str(odd_names),
        cfg_options=small(),
    )
    shown = only_in / 'shown'
    assert len(list(shown.glob('*.npz'))) == len(list(shown.glob('*.png'))) == 4
    assert (shown / 'index.html').is_file()
