from dataclasses import replace

import pytest

from mmattn.cost import cost_report
from mmattn.study import estimate
from mmattn.study.config import read_study
from mmattn.study.estimate import estimate_study, estimate_tables, number_of_evaluations
from mmattn.study.plan import prepare_folders
from mmattn.study.record import read_record, write_record
from mmattn.study.variant_config import build_detector
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
    counted, _ = estimate_study(study, plain.step_seconds)
    assert counted == replace(plain, image_seconds=counted.image_seconds)
    write_record(runs[1].folder, dict(read_record(runs[1].folder), status='finished'))
    assert '4 runs, 2 of them finished' in next(
        each for each in estimate_tables(study, estimates, tmp_path / 'work', 1) if isinstance(each, str)
    )


def test_what_is_not_timed_is_counted_all_the_same(a_study, tmp_path, monkeypatch):
    """Without a GPU too, which mixed precision needs."""
    monkeypatch.setattr(estimate, '_time_steps', lambda *_: 1 / 0)
    settings = "dict(optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic'))"
    study = read_study(a_study(settings=settings))
    plain, se = estimates = list(estimate_study(study, 3.0))
    assert (plain.size, plain.iterations, plain.images, plain.step_seconds) == ((96, 96), 8, 16, 3.0)
    assert plain.image_seconds == 3.0 / 4 / 3 and plain.seconds == 8 * 3 + 16 * 3 / 12
    model = build_detector(study.variants[0].config)
    floats = [value for value in model.state_dict().values() if value.is_floating_point()]
    weights, trained = (sum(p.numel() for p in each) for each in (floats, model.parameters()))
    # AdamW's two means of each gradient
    assert plain.disk_bytes - 8 * 100 * 150 == pytest.approx(4 * (weights + 2 * trained), rel=0.01)
    assert plain.saved_bytes == cost_report(model, (96, 96)).cost.saved_bytes() < se.saved_bytes
    _, text = estimate_tables(study, estimates, tmp_path / 'work', 1, timed=False)
    assert 'Nothing was timed: a step takes what you said' in text


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
