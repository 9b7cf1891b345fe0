import io
from pathlib import Path

from rich.console import Console

from mmattn.study.plan import Run
from mmattn.study.progress import (
    Progress,
    duration,
    metric_text,
    position_text,
    run_left,
    status_table,
    time_left,
)
from mmattn.study.record import write_record

RUNNING = dict(
    status='running', first_iteration=20, iteration=40, iterations=100, seconds=90.0, seconds_here=50.0
)
FINISHED = dict(status='finished', iteration=100, iterations=100, seconds=300.0)


def runs(records):
    return {Run(name[0], i, Path(name)): record for i, (name, record) in enumerate(records.items())}


def test_the_time_left_of_a_run_is_at_its_pace_since_it_was_started():
    assert run_left(RUNNING) == 60 * 50 / 20
    assert run_left(dict(RUNNING, iteration=20)) is None and run_left(FINISHED) is None


def test_the_time_left_of_a_study():
    assert time_left(runs(dict(a=dict(status='waiting'))), 1) is None
    # a run that has not begun takes as long as its variant's finished ones, else as the mean of all
    records = runs(dict(a1=FINISHED, a2=dict(FINISHED, seconds=100.0), b1=dict(FINISHED, seconds=50.0),
                        a3=dict(status='waiting'), c1=dict(status='waiting')))  # fmt: skip
    assert time_left(records, 1) == 200 + 150 and time_left(records, 2) == 200
    records = runs(dict(a1=RUNNING, a2=dict(status='waiting'), b1=dict(status='failed')))
    assert time_left(records, 1) == 150 + 200


def test_texts():
    assert [duration(s) for s in (4.2, 99, 600, 7200)] == ['4 s', '99 s', '10 min', '2.0 h']
    assert position_text(RUNNING) == 'iteration 40 of 100' and position_text({}) == 'not begun'
    assert metric_text({}) == 'not evaluated'
    assert metric_text(dict(evaluations=[dict(metrics={'coco/bbox_mAP': 0.125, 'x': 1})])) == 'bbox_mAP 0.125'


def test_the_status_shows_every_run(tmp_path):
    (tmp_path / 'a').mkdir()
    write_record(
        tmp_path / 'a', dict(status='failed', error='no room', iteration=3, iterations=9, seconds=5.0)
    )
    some = [Run('a', 0, tmp_path / 'a'), Run('b', 0, tmp_path / 'b')]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(status_table(tmp_path, some))
    text = console.export_text()
    assert 'failed' in text and 'no room' in text and '3 of 9' in text and 'waiting' in text
    assert Progress(some).summary([]) == '0 of 2 runs finished, 1 failed'


def test_in_a_terminal_there_is_a_live_table(tmp_path):
    write_record(tmp_path, RUNNING)
    run, out = Run('a', 0, tmp_path), io.StringIO()
    with Progress([run], 1, Console(file=out, force_terminal=True, width=100)) as progress:
        progress.started(run)
        progress.update([run])
    assert 'iteration 40 of 100' in out.getvalue() and 'about 2 min left' in out.getvalue()
    assert 'goes on' in out.getvalue()
