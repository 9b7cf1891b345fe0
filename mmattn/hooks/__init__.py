"""Hooks for training and testing: check, save, measure and draw attention.

MMEngine imports this package by itself at the first hook of type ``mmattn.X``.
"""

from mmattn.hooks.adapter_hook import AdapterHook
from mmattn.hooks.attention_map_hook import AttentionMapHook
from mmattn.hooks.attention_stats_hook import AttentionStatsHook
from mmattn.hooks.check_data_hook import CheckDataHook
from mmattn.hooks.check_insertion_hook import CheckInsertionHook
from mmattn.hooks.checkpoint_hook import CheckpointHook
from mmattn.hooks.exact_resume_hook import ExactResumeHook
from mmattn.hooks.refuse_code_hook import RefuseCodeHook

__all__ = [
    'AdapterHook',
    'AttentionMapHook',
    'AttentionStatsHook',
    'CheckDataHook',
    'CheckInsertionHook',
    'CheckpointHook',
    'ExactResumeHook',
    'RefuseCodeHook',
]
