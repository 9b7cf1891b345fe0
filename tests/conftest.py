"""Shared by all tests: few threads, data from outside, OpenMMLab's global state put back, tools run."""

import functools
import gc
import logging
import os
import runpy
import sys

# Before torch is imported: OpenMP reads it once. On a busy machine one thread is the fastest.
os.environ.setdefault('OMP_NUM_THREADS', '1')

# Without a GPU, Triton's kernels are tested by its interpreter; it too is chosen once, at import.
if not os.path.exists('/dev/nvidiactl'):
    os.environ.setdefault('TRITON_INTERPRET', '1')

from pathlib import Path  # noqa: E402
from typing import NamedTuple  # noqa: E402

import mmengine.config.utils  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))

# For each `mmdet::` config MMEngine reads MMDetection's hundred metafiles again: half a second.
mmengine.config.utils.load = functools.cache(mmengine.config.utils.load)


def pytest_collection_finish(session):
    """Leave all that is imported by now out of garbage collections: MMEngine makes one for each data set."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Leave out also what the tests of a file leave behind: loggers, caches, what was imported late."""
    yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope='session')
def test_data():
    """Folder of real images, annotations and fixtures, for the tests that need them."""
    folder = os.environ.get('MMATTN_TEST_DATA')
    if not folder:
        pytest.skip('MMATTN_TEST_DATA is not set: no folder with real data')
    if not Path(folder).is_dir():
        pytest.skip(f'MMATTN_TEST_DATA={folder} is not a folder')
    return Path(folder)


@pytest.fixture
def in_project(monkeypatch, request):
    """The project's folder, to which the tests' config paths are relative; no data root from outside."""
    monkeypatch.chdir(request.config.rootpath)
    monkeypatch.delenv('MMATTN_DATA_ROOT', raising=False)


@pytest.fixture(scope='session')
def squares(tmp_path_factory):
    """Folder of the easy data; whoever changes it copies it first."""
    from tests.squares import write_squares

    return write_squares(tmp_path_factory.mktemp('data') / 'squares')


@pytest.fixture(scope='session')
def detectors(squares, tmp_path_factory, request):
    """Folder of small untrained detectors of the easy data, each NAME.py and NAME.pth.

    ``detector`` has CBAM, ``other`` has SE, ``stock`` has no attention. Whoever writes there copies it first.
    """
    from tests.squares import write_detectors

    return write_detectors(tmp_path_factory.mktemp('detectors'), squares, request.config.rootpath / 'configs')


@pytest.fixture(scope='module')
def browser():
    """Chromium without a window; skips where there is none."""
    from tests.browser import started_browser

    with started_browser() as browser:
        yield browser


@pytest.fixture
def mmdet_scope():
    """mmdet as the default scope, as in a run of its tools; undone afterwards."""
    from mmdet.utils import register_all_modules
    from mmengine.registry import DefaultScope

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(autouse=True)
def default_scope():
    """The default scope that a test's runner leaves is undone: MMEngine takes the last one that was made."""
    from mmengine.registry import DefaultScope

    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(autouse=True)
def loggers_and_visualizers():
    """End those of a test with it: they write to its standard output and its folder, which are gone."""
    from mmengine.logging import MMLogger
    from mmengine.visualization import Visualizer

    visualizers = (Visualizer, *Visualizer.__subclasses__())
    for cls in visualizers:  # of a fixture of a module: a run of this test would write into its folder
        cls._instance_dict.clear()
    before = {cls: set(cls._instance_dict) for cls in (MMLogger, *visualizers)}
    yield
    for cls in (MMLogger, Visualizer, *Visualizer.__subclasses__()):
        for name in set(cls._instance_dict) - before.get(cls, set()):
            for handler in getattr(cls._instance_dict.pop(name), 'handlers', ()):
                handler.close()


@pytest.fixture(autouse=True)
def log_level():
    """What a test does to the level of MMEngine's logger is undone: others wait for its warnings."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def warnings():
    """What is logged as a warning."""
    from mmengine.logging import MMLogger

    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


class Done(NamedTuple):
    """How a tool ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run_tool(monkeypatch, capfd, request):
    """Run a tool of ``tools/`` as a program, in this process; an error that it lets through is raised."""
    monkeypatch.setenv('LOCAL_RANK', '0')  # which tools set, and nobody unsets

    def run(tool, *arguments):
        path = str(request.config.rootpath / 'tools' / tool)
        monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(path, run_name='__main__')
        except SystemExit as stop:
            code = stop.code
        return Done(code, *capfd.readouterr())

    return run
