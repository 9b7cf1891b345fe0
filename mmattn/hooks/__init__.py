"""What runs during training and testing."""

from mmattn.hooks.adapter_hook import AdapterHook
from mmattn.hooks.attention_map_hook import AttentionMapHook
from mmattn.hooks.attention_stats_hook import AttentionStatsHook
from mmattn.hooks.check_insertion_hook import CheckInsertionHook

__all__ = ['AdapterHook', 'AttentionMapHook', 'AttentionStatsHook', 'CheckInsertionHook']
