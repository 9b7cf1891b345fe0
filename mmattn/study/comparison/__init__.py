"""Compare anybody's results files on one annotation file, with intervals."""

from mmattn.study.comparison.answer import Answer, Estimate, MistakeChange, compare_results
from mmattn.study.comparison.inputs import default_iou_types, parse_variants
from mmattn.study.comparison.report import to_csv, to_json, to_markdown, write_answer
from mmattn.study.comparison.tables import TextTable, answer_tables

__all__ = [
    'Answer',
    'Estimate',
    'MistakeChange',
    'TextTable',
    'answer_tables',
    'compare_results',
    'default_iou_types',
    'parse_variants',
    'to_csv',
    'to_json',
    'to_markdown',
    'write_answer',
]
