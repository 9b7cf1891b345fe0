"""Count and measure what attention costs: parameters, operations, memory for the backward pass, time."""

from mmattn.cost.block_table import (
    BlockRow,
    block_costs_to_markdown,
    block_rows,
    block_uses_to_markdown,
    blocks_to_markdown,
)
from mmattn.cost.config_table import ConfigRow, config_row, configs_to_markdown, list_configs
from mmattn.cost.count_block import BlockCost, block_cost
from mmattn.cost.count_model import FrozenStagesCost, ModelCost, attention_of, model_cost
from mmattn.cost.op_count import OP_CATEGORIES, CountOps, OpCount
from mmattn.cost.report import (
    AttentionCost,
    CostReport,
    cost_by_site,
    cost_by_stage,
    cost_report,
    measure_time,
    not_counted,
    report_rows,
)
from mmattn.cost.report_plot import plot_attention_cost
from mmattn.cost.report_tables import render_reports, render_sites, reports_to_csv, reports_to_json
from mmattn.cost.site_table import SiteRow, group_similar, render_site_rows, site_rows, without_plain_modules
from mmattn.cost.timing import DTYPES, Timing, inference, peak_memory, time_interleaved, training_step

__all__ = [
    'DTYPES',
    'OP_CATEGORIES',
    'AttentionCost',
    'BlockCost',
    'BlockRow',
    'ConfigRow',
    'CostReport',
    'CountOps',
    'FrozenStagesCost',
    'ModelCost',
    'OpCount',
    'SiteRow',
    'Timing',
    'attention_of',
    'block_cost',
    'block_rows',
    'block_costs_to_markdown',
    'block_uses_to_markdown',
    'blocks_to_markdown',
    'config_row',
    'configs_to_markdown',
    'cost_by_site',
    'cost_by_stage',
    'cost_report',
    'group_similar',
    'inference',
    'list_configs',
    'measure_time',
    'model_cost',
    'not_counted',
    'peak_memory',
    'plot_attention_cost',
    'render_reports',
    'render_site_rows',
    'render_sites',
    'report_rows',
    'reports_to_csv',
    'reports_to_json',
    'site_rows',
    'time_interleaved',
    'training_step',
    'without_plain_modules',
]
