"""What runs during training and testing."""
from mmattn.hooks.check_insertion_hook import CheckInsertionHook

__all__ = ['CheckInsertionHook']
