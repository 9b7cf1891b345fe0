"""Attention blocks: one paper, one file. The registry is the list."""
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.cbam import CBAM
from mmattn.blocks.channel_attention import ChannelAttention
from mmattn.blocks.eca import ECA
from mmattn.blocks.ese import ESE
from mmattn.blocks.gct import GCT
from mmattn.blocks.se import SE
from mmattn.blocks.sge import SGE
from mmattn.blocks.simam import SimAM
from mmattn.blocks.spatial_attention import SpatialAttention

__all__ = ['CBAM', 'ECA', 'ESE', 'GCT', 'SE', 'SGE', 'AttentionBlock', 'ChannelAttention', 'SimAM',
           'SpatialAttention']
