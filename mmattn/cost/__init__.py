"""What attention costs: parameters, operations, activations kept for backward, and time."""

from mmattn.cost.block_cost import BlockCost, block_cost
from mmattn.cost.model_cost import ModelCost, model_cost
from mmattn.cost.op_count import CountOps, OpCount
from mmattn.cost.report import Report, cost_report, measure
from mmattn.cost.timing import Timing, inference, peak_memory, time_in_turn, training_step

__all__ = [
    'BlockCost',
    'CountOps',
    'ModelCost',
    'OpCount',
    'Report',
    'Timing',
    'block_cost',
    'cost_report',
    'inference',
    'measure',
    'model_cost',
    'peak_memory',
    'time_in_turn',
    'training_step',
]
