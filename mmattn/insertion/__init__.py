"""Insertion: where blocks can stand, what a user asks for, and putting them there."""

from mmattn.insertion.attach import attach, detach
from mmattn.insertion.rules import Rule
from mmattn.insertion.sites import Site, sites
from mmattn.insertion.with_attention import WithAttention

__all__ = ['Rule', 'Site', 'WithAttention', 'attach', 'detach', 'sites']
