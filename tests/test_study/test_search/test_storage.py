"""Databases of a search that cannot be opened, and one that is opened by two processes at once."""

import sys

import optuna
import pytest
import sqlalchemy
from sqlalchemy.exc import IntegrityError

from mmattn.study.search import storage
from mmattn.study.search.storage import ATTEMPTS, open_storage


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(storage, 'PAUSE', 0.0)


@pytest.mark.parametrize(
    'url, says',
    [
        ('sqlite:////no/such/folder/search.db', 'cannot be opened: unable to open database file'),
        ('paper://search', "cannot be opened: Can't load plugin: sqlalchemy.dialects:paper"),
    ],
)
def test_a_database_that_cannot_be_opened_is_refused(url, says, tmp_path):
    with pytest.raises(ValueError, match=f'--storage: the database {says}'):
        open_storage(url, tmp_path)


def test_the_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'psycopg', None)
    with pytest.raises(ModuleNotFoundError) as error:
        open_storage('postgresql+psycopg://searcher:secret@localhost/search', tmp_path)
    assert 'connects to postgresql+psycopg is not installed' in str(error.value)
    assert 'pip install psycopg[binary]' in str(error.value) and 'secret' not in str(error.value)


@pytest.mark.parametrize('failures', [1, ATTEMPTS])
def test_tables_that_another_process_makes_are_waited_for(failures, tmp_path, monkeypatch):
    """PostgreSQL answers so to the second of two processes that create a type at once."""
    create_all, asked = sqlalchemy.MetaData.create_all, []

    def raced(self, *args, **kwargs):
        asked.append(1)
        if len(asked) <= failures:
            raise IntegrityError('CREATE TYPE', None, Exception('the type already exists'))
        return create_all(self, *args, **kwargs)

    monkeypatch.setattr(sqlalchemy.MetaData, 'create_all', raced)
    if failures == ATTEMPTS:
        with pytest.raises(ValueError, match='cannot be opened: the type already exists'):
            open_storage(f'sqlite:///{tmp_path}/search.db', tmp_path)
        assert len(asked) == ATTEMPTS
    else:
        found = open_storage(f'sqlite:///{tmp_path}/search.db', tmp_path)
        assert isinstance(found, optuna.storages.RDBStorage) and found.get_all_studies() == []
