"""Fewer channels for a trained detector, its attention with it."""

from mmattn.pruning.command import PrunedFiles, prune_file
from mmattn.pruning.graph import ChannelGroup, PruningGraph
from mmattn.pruning.ranking import RANKINGS, Gates, Magnitude, Random, Ranking, channel_gates
from mmattn.pruning.target import CannotPrune, Target, prune_to

__all__ = [
    'RANKINGS',
    'CannotPrune',
    'ChannelGroup',
    'Gates',
    'Magnitude',
    'PrunedFiles',
    'PruningGraph',
    'Random',
    'Ranking',
    'Target',
    'channel_gates',
    'prune_file',
    'prune_to',
]
