"""The contract of blocks, as rules for a class; ``mmattn.blocks.check`` and the tests go through them."""

# imported to list their rules, in this order
from mmattn.blocks.contract import building, computing, learning, tracing  # noqa: F401
from mmattn.blocks.contract.onnx_files import EXPORTERS, run_exported
from mmattn.blocks.contract.rules import RULES, NotChecked, Rule, breaks, rules_for
from mmattn.blocks.contract.subject import Case, Subject, grads_of, off_by, randomise, results_of, smooth_map

__all__ = [
    'EXPORTERS',
    'RULES',
    'Case',
    'NotChecked',
    'Rule',
    'Subject',
    'breaks',
    'grads_of',
    'off_by',
    'randomise',
    'results_of',
    'rules_for',
    'run_exported',
    'smooth_map',
]
