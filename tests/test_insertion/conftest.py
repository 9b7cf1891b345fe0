import logging

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def warnings():
    """What is logged as a warning."""
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
