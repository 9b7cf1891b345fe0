import pytest

from mmattn.study.config import read_study
from mmattn.study.estimate import estimate_study, estimate_tables, number_of_evaluations
from mmattn.study.plan import prepare_folders
from mmattn.study.record import read_record, write_record
from mmattn.study.worker import train_run


@pytest.mark.slow
def test_a_run_costs_what_was_estimated(a_study, tmp_path):
    study = read_study(a_study(seeds='[0, 1]'))
    plain, se = estimates = list(estimate_study(study))
    assert not list(tmp_path.glob('work*'))
    assert plain.size == se.size == (96, 96) and plain.attention_operations == 0
    assert se.operations == pytest.approx(plain.operations + se.attention_operations, rel=0.01)
    assert 0 < plain.step_seconds < 60 and plain.seconds == 8 * plain.step_seconds + 16 * plain.image_seconds

    (table, text, *notes) = estimate_tables(study, estimates, tmp_path / 'work', 2)
    assert table.row_count == 2 and not notes
    assert '4 runs, 0 of them finished' in text and 'with 2 at a time' in text
    runs = prepare_folders(study, tmp_path / 'work')
    train_run(runs[0].folder)
    record = read_record(runs[0].folder)
    assert plain.iterations == record['iterations'] == 8
    assert plain.images == 8 * len(record['evaluations'])
    checkpoint = (runs[0].folder / 'epoch_2.pth').stat().st_size
    assert plain.disk_bytes - 8 * 100 * 150 == pytest.approx(checkpoint, rel=0.1)
    write_record(runs[1].folder, dict(read_record(runs[1].folder), status='finished'))
    assert '4 runs, 2 of them finished' in next(
        each for each in estimate_tables(study, estimates, tmp_path / 'work', 1) if isinstance(each, str)
    )


@pytest.mark.parametrize(
    'options, at',
    [
        (dict(val_interval=1, dynamic_intervals=[(2, 3), (7, 6)]), [1, 3, 6, 12]),
        (dict(val_interval=5), [5, 10, 12]),
        (dict(val_interval=5, val_begin=6), [10, 12]),
        (dict(val_interval=100), [12]),
        (dict(val_interval=4, dynamic_intervals=[(10, 1)]), [4, 8, 10, 11, 12]),
        (dict(val_begin=13), []),
    ],
)
def test_evaluations_are_counted_as_the_loops_do(options, at):
    assert number_of_evaluations(dict(options, max_epochs=12)) == len(at)
    assert number_of_evaluations(dict(options, max_iters=12)) == len(at)
