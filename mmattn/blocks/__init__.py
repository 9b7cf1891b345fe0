"""Attention blocks: one paper, one file. The registry is the list."""
from mmattn.blocks.base import AttentionBlock
from mmattn.blocks.cbam import CBAM
from mmattn.blocks.eca import ECA
from mmattn.blocks.se import SE

__all__ = ['CBAM', 'ECA', 'SE', 'AttentionBlock']
