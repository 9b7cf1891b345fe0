"""Tools that build a model say in one line what was inserted, and not in their output."""

import logging

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def logged():
    """The lines that are logged, as they are shown at MMEngine's usual level."""
    lines = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    'tool, arguments',
    [
        ('cost.py', ['detector.py', '--shape', '32']),
        ('sites.py', ['detector.py', 'neck.output', '--shape', '32']),
        ('show_attention.py', ['detector.py', 'detector.pth', 'images', '--limit', '1', '--out-dir']),
    ],
)
def test_one_line_for_an_insertion(tool, arguments, in_files, run_tool, logged, tmp_path):
    done = run_tool(tool, *arguments, *([tmp_path] if arguments[-1] == '--out-dir' else []))
    assert done.code == 0
    assert [line for line in logged if 'attention' in line] == [
        'attention: CBAM at 8 sites, 2,432 parameters'
    ]
    assert 'attention:' not in done.out and 'INFO' not in done.out
