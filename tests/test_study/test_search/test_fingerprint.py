"""What a search was begun with is what it goes on with: settings, the base's config, annotations."""

import json
import shutil
from functools import partial

import pytest

from mmattn.study.search.fingerprint import fingerprint_of, require_same
from mmattn.study.search.settings import read_search
from mmattn.study.search.storage import open_search, open_storage, quiet_optuna
from mmattn.study.variant_config import variant_config


@pytest.fixture
def go_on(base, tmp_path, squares, monkeypatch):
    """Begin a search, or go on with it, in a process of its own as it were."""
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)
    shutil.copy(base, tmp_path / 'base.py')

    def call(work='work', storage=None, data=squares, variant=None, **search):
        variant = variant or dict(lr=dict(low=0.1, high=1.0))
        asked = dict(base='base.py', search=dict(dict(variant=variant, trials=6), **search))
        settings = read_search('search.py', asked)
        folder = tmp_path / work
        folder.mkdir(exist_ok=True)
        config_of = partial(variant_config, asked, folder=str(tmp_path), data_root=str(data))
        with quiet_optuna():
            found = open_search('search', open_storage(storage, folder), 'tpe', 'none', 0)
        require_same(found, folder, fingerprint_of(settings, str(tmp_path), config_of, str(data)))

    return call


def changed(keys):
    return pytest.raises(
        ValueError, match=rf"the search 'search' was begun with something else \({keys}\), and"
    )


def test_other_settings_are_refused_and_more_trials_are_not(go_on):
    go_on()
    go_on(trials=9, sampler='random', pruner='median')
    with changed('seed'):
        go_on(seed=4)
    with changed('variant.lr.high'):
        go_on(variant=dict(lr=dict(low=0.1, high=2.0)))
    go_on()


def test_a_changed_base_is_refused(go_on, tmp_path):
    """Whatever file it takes its settings from, and the base that a variant chooses, too."""
    shutil.copy(tmp_path / 'base.py', tmp_path / 'other.py')
    variant = dict(base=dict(choices=['base.py', 'other.py']))
    (tmp_path / 'common.py').write_text('num = 3\n')
    (tmp_path / 'other.py').write_text("_base_ = ['base.py', 'common.py']\n")
    go_on(variant=variant)
    (tmp_path / 'common.py').write_text('num = 4\n')
    with changed(r'base_configs\.other\.py\.num'):
        go_on(variant=variant)


def test_data_may_be_elsewhere_but_not_other(go_on, squares, tmp_path):
    go_on()
    shutil.copytree(squares, tmp_path / 'data')
    go_on(data=tmp_path / 'data')
    path = tmp_path / 'data/annotations/val.json'
    content = json.loads(path.read_text())
    content['annotations'].pop()
    path.write_text(json.dumps(content))
    with changed(r'annotations\.base\.py: val'):
        go_on(data=tmp_path / 'data')


def test_the_trials_of_a_folder_are_not_taken_into_another_storage(go_on, tmp_path):
    go_on()
    with changed('seed'):
        go_on(storage=f'sqlite:///{tmp_path}/search.db', seed=4)
    go_on('other', storage=f'sqlite:///{tmp_path}/search.db', seed=4)
