"""What is logged before a run has its log file is in that file, once and in order."""

import logging

import pytest
from mmengine.logging import MMLogger, print_log

from mmattn.engine.early_log import EarlyLog


@pytest.fixture
def run_log(tmp_path):
    """A run's logger and what is in its file."""
    path = tmp_path / 'run.log'
    before = MMLogger.get_current_instance()
    with EarlyLog() as log:
        print_log('first', logger='current')
        print_log('second', logger='current', level=logging.WARNING)
        print_log('of no interest', logger='current', level=logging.DEBUG)
        logger = MMLogger.get_instance('a run', log_file=str(path))
        log.write_to(logger)
        print_log('third', logger='current')
        before.info('elsewhere')
    return before, log, path.read_text


def test_it_comes_first(run_log):
    lines = run_log[2]().splitlines()
    assert [line.rpartition(' - ')[2] for line in lines] == ['first', 'second', 'third']
    assert 'INFO' in lines[0] and 'WARNING' in lines[1]


def test_nothing_is_kept_afterwards(run_log):
    before, log, text = run_log
    assert log not in before.handlers
    before.warning('later')
    assert 'later' not in text()


def test_a_run_that_is_not_built_leaves_nothing_behind():
    logger = MMLogger.get_current_instance()
    handlers = list(logger.handlers)
    with pytest.raises(ValueError), EarlyLog():
        raise ValueError
    assert logger.handlers == handlers
