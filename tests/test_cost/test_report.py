"""Reports of several models, and tools/cost.py."""

import csv
import json

import pytest

from mmattn.cost import (
    cost_by_site,
    cost_by_stage,
    cost_report,
    not_counted,
    plot_attention_cost,
    render_reports,
    report_rows,
    reports_to_json,
)
from tests.test_cost.helpers import RESIDUAL
from tests.test_insertion.models import build, model_cfg, narrow


def test_sites_and_stages_add_up():
    model = build(
        narrow(
            model_cfg(
                'RetinaNet', insert=[RESIDUAL, dict(at='neck.fpn_convs.*', block=dict(type='mmattn.SE'))]
            )
        )
    )
    report = cost_report(model, (64, 96))
    cost = report.cost
    for gathered in (cost_by_site(report), cost_by_stage(report)):
        assert sum(each.ops for each in gathered.values()) == cost.attention_ops()
        assert sum(each.parameters for each in gathered.values()) == cost.attention_parameters
        assert sum(each.number for each in gathered.values()) == 13
    stages = cost_by_stage(report)
    assert sum(each.ops + each.rest_ops for each in stages.values()) == cost.ops.total()
    assert {'backbone.layer1', 'backbone.layer4', 'neck', 'bbox_head'} <= set(stages)
    assert len(plot_attention_cost({'it': report}).axes) == 3
    with pytest.raises(ValueError, match='no model has attention: there is nothing to plot'):
        plot_attention_cost({'it': cost_report(build(narrow(model_cfg('RetinaNet'))), (64, 96))})


def test_a_report_can_have_nothing_to_compare_with():
    from mmattn.engine.config_model import build_model

    model = build_model('configs/temporal_attention/mask2former_r50-temporal_8xb2-8e_youtubevis2019.py')
    reports = {name: cost_report(model, (64, 96)) for name in ('one', 'other')}
    table = report_rows(reports)
    assert [row['saved_ratio'] for row in table] == [None, None] and table[0]['attention_parameters'] > 0
    assert any('one: the model is not counted' in remark for remark in not_counted(reports))
    assert render_reports(reports)


@pytest.mark.usefixtures('in_project')
def test_tool(tmp_path, run_tool):
    config = 'configs/cbam/retinanet_r18-cbam_fpn_1x_coco.py'
    plot = tmp_path / 'cost.png'
    options = ('--baseline', 'plain', '--shape', 128, 160, '--json', '--plot', plot)
    done = run_tool('cost.py', config, *options)
    plain, with_attention = json.loads(done.out)
    assert plain['model'] == 'without attention' and with_attention['model'] == config
    assert (
        with_attention['parameters'] - plain['parameters'] == with_attention['attention_parameters'] == 89_880
    )
    assert plain['attention_operations'] == 0 and with_attention['saved_ratio'] > 1
    assert len(with_attention['sites']) == 8 and plot.stat().st_size > 10_000
    done = run_tool('cost.py', config, 'configs/se/retinanet_r18-se_fpn_1x_coco.py', '--shape', 96, '--csv')
    assert [row['model'] for row in csv.DictReader(done.out.splitlines())] == [
        config,
        'configs/se/retinanet_r18-se_fpn_1x_coco.py',
    ]


@pytest.mark.slow
@pytest.mark.usefixtures('in_project')
def test_tool_measures(run_tool):
    done = run_tool(
        'cost.py',
        'configs/shapes/faster-rcnn_r18-se_fpn_shapes.py',
        '--baseline',
        'plain',
        '--time',
        '--repeats',
        2,
        '--warmup',
        1,
        '--shape',
        96,
        '--sites',
    )
    assert done.code == 0, done.err
    for text in ('ms inference', 'ms step', 'MiB step', 'backbone.layer4.1.residual', 'cpu, fp32, batch 1'):
        assert text in done.out


def test_a_row_for_attention_that_trains_in_frozen_stages():
    def report(**options):
        cfg = narrow(model_cfg('RetinaNet', 50, [RESIDUAL], frozen_stages=2))
        return cost_report(build({**cfg, **options}), (64, 96))

    recomputed, kept = report(), report(recompute=False)
    found = [each.cost.frozen_stages for each in (recomputed, kept)]
    assert found[0].paths == found[1].paths == ('backbone.layer1', 'backbone.layer2')
    assert found[0].recompute and not found[1].recompute
    assert found[0].saved_otherwise == kept.cost.saved_bytes() > 1.5 * recomputed.cost.saved_bytes()
    assert found[1].saved_otherwise == recomputed.cost.saved_bytes()
    reports = dict(recomputed=recomputed)
    cells = [list(column.cells) for column in render_reports(reports).columns]
    name = '  with recompute=False (attention trains in frozen backbone.layer1, backbone.layer2)'
    assert cells[0] == ['recomputed', name]
    ratio = kept.cost.saved_bytes() / recomputed.cost.saved_bytes()
    assert [column[1] for column in cells[1:]] == [''] * 6 + [
        f'{kept.cost.saved_bytes() / 2**20:.0f} x{ratio:.3f}'
    ]
    shown = json.loads(reports_to_json(reports))[0]['frozen_stages']
    assert shown['recompute'] and shown['saved_otherwise'] == kept.cost.saved_bytes()
    assert report(insert=[dict(RESIDUAL, freeze_with_host=True)]).cost.frozen_stages is None
