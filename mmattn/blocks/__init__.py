"""Attention blocks, one paper per file; ``mmattn.registry.MODELS`` lists them."""

from mmattn.blocks.bam import BAM
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.capacity import Capacity
from mmattn.blocks.cbam import CBAM
from mmattn.blocks.channel_attention import ChannelAttention
from mmattn.blocks.compose import Compose
from mmattn.blocks.coord_attention import CoordAttention
from mmattn.blocks.eca import ECA
from mmattn.blocks.ema import EMA
from mmattn.blocks.ese import ESE
from mmattn.blocks.external import External
from mmattn.blocks.gct import GCT
from mmattn.blocks.global_context import GlobalContext
from mmattn.blocks.non_local import NonLocal
from mmattn.blocks.scse import SCSE
from mmattn.blocks.se import SE
from mmattn.blocks.sge import SGE
from mmattn.blocks.simam import SimAM
from mmattn.blocks.sk_conv import SKConv
from mmattn.blocks.spatial_attention import SpatialAttention
from mmattn.blocks.static_gate import StaticGate
from mmattn.blocks.temporal_attention import TemporalAttention
from mmattn.blocks.triplet_attention import TripletAttention

__all__ = [
    'BAM',
    'CBAM',
    'ECA',
    'EMA',
    'ESE',
    'GCT',
    'SCSE',
    'SE',
    'SGE',
    'SKConv',
    'AttentionBlock',
    'Capacity',
    'ChannelAttention',
    'Compose',
    'CoordAttention',
    'External',
    'GlobalContext',
    'NonLocal',
    'SimAM',
    'SpatialAttention',
    'StaticGate',
    'TemporalAttention',
    'TripletAttention',
]
