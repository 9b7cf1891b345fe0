import json
import shutil

import pytest
from mmengine.config import Config

from mmattn.study.config import read_study
from mmattn.study.plan import differences, prepare_folders, read_study_file, runs_in, runs_of
from mmattn.study.record import read_record, write_record
from tests.test_study.studies import SE


def test_all_variants_come_with_one_seed_before_the_next(a_study, tmp_path):
    runs = runs_of(read_study(a_study(seeds='[3, 0]')), tmp_path / 'work')
    assert [(run.variant, run.seed) for run in runs] == [('plain', 3), ('se', 3), ('plain', 0), ('se', 0)]
    assert runs[1].folder == tmp_path / 'work/se/seed_3' and str(runs[1]) == 'se, seed 3'


def test_each_run_has_its_config(a_study, tmp_path):
    runs = prepare_folders(read_study(a_study()), tmp_path / 'work')
    configs = [Config.fromfile(run.folder / 'config.py') for run in runs]
    assert [cfg.randomness.seed for cfg in configs] == [0, 0, 1, 1]
    plain, se, plain_1, _ = (cfg.to_dict() for cfg in configs)
    assert {key.split('.')[0] for key in differences(plain, se)} == {'model'}
    assert list(differences(plain, plain_1)) == ['randomness.seed']
    record = read_record(runs[1].folder)
    assert (record['study'], record['variant'], record['seed']) == ('study', 'se', 0)
    assert set(record['hashes']) == {'config', 'train annotations', 'val annotations'}
    assert runs_in(tmp_path / 'work') == runs
    assert read_study_file(tmp_path / 'work')['control'] == 'plain'


def test_variants_and_seeds_can_be_added_and_settings_not_changed(a_study, tmp_path):
    work = tmp_path / 'work'
    prepare_folders(read_study(a_study(settings="{'optim_wrapper.optimizer.lr': 0.7}")), work)
    runs = prepare_folders(read_study(a_study()), work)  # nothing had begun
    write_record(runs[0].folder, dict(read_record(runs[0].folder), status='running'))
    left = Config.fromfile(runs[0].folder / 'config.py')
    left.merge_from_dict(dict(custom_hooks=[dict(type='X')], work_dir='y'))  # as MMEngine does
    left.dump(runs[0].folder / 'config.py')
    more = read_study(a_study(seeds='[0, 1, 2]', variants=f'dict(se={SE}, other={{}})'))
    assert len(prepare_folders(more, work)) == 9
    changed = read_study(a_study(settings="{'optim_wrapper.optimizer.lr': 0.5}"))
    with pytest.raises(ValueError) as error:
        prepare_folders(changed, work)
    assert str(error.value).startswith(
        'plain, seed 0: its config (optim_wrapper.optimizer.lr) changed since this run was begun in '
    )
    assert f'remove {work}/plain to train this variant anew' in error.value.mistake_text


def test_other_data_is_refused(a_study, squares, tmp_path):
    data = tmp_path / 'data'
    shutil.copytree(squares, data)
    runs = prepare_folders(read_study(a_study(), str(data)), tmp_path / 'work')
    write_record(runs[0].folder, dict(read_record(runs[0].folder), status='finished'))
    path = data / 'annotations/val.json'
    content = json.loads(path.read_text())
    content['annotations'].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match='plain, seed 0: the val annotations changed since this run was begun'
    ):
        prepare_folders(read_study(a_study(), str(data)), tmp_path / 'work')


def test_another_folder_is_no_study(tmp_path):
    with pytest.raises(FileNotFoundError, match='is not the folder of a study: it has no study.json'):
        runs_in(tmp_path)
