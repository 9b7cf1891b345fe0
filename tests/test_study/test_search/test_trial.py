"""A trial whose process outlived its search."""

import os
import time

from mmattn.study.lock import Lock
from mmattn.study.plan import Run
from mmattn.study.record import write_record
from mmattn.study.search import trial as trial_module
from mmattn.study.search.trial import train_trial


def test_a_process_that_was_left_behind_is_waited_for(tmp_path, monkeypatch):
    record = dict(status='running', evaluations=[dict(metrics={'coco/bbox_mAP': 0.2})])
    write_record(tmp_path, record)
    child = os.fork()
    if not child:
        with Lock(tmp_path / 'run.lock', 'the run'):
            time.sleep(1)
            write_record(tmp_path, dict(record, status='finished'))
        os._exit(0)
    while not (tmp_path / 'run.lock').exists():
        time.sleep(0.01)
    time.sleep(0.2)
    monkeypatch.setattr(trial_module, 'start_run', lambda run: 1 / 0)
    assert train_trial(Run('x', 0, tmp_path), 'coco/bbox_mAP', lambda *_: False, every=0.05) == 0.2
    os.waitpid(child, 0)
