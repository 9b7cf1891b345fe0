"""What runs during training and testing."""
from mmattn.hooks.adapter_hook import AdapterHook
from mmattn.hooks.check_insertion_hook import CheckInsertionHook

__all__ = ['AdapterHook', 'CheckInsertionHook']
