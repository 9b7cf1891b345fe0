"""The demo behind ``make demo``: train a small detector with attention, evaluate it, show what it did."""

from mmattn.demo.run import DemoResult, run_demo
from mmattn.demo.targets import TARGETS

__all__ = ['TARGETS', 'DemoResult', 'run_demo']
