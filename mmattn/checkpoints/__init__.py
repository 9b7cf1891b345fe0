"""Weights in files: which attention they hold, and attention alone as an adapter."""
from mmattn.checkpoints.check import check_insertion

__all__ = ['check_insertion']
