"""The demo behind ``make demo``: train a small detector with attention, evaluate it, show its detections."""

from mmattn.demo.run import TARGETS, DemoResult, run_demo

__all__ = ['TARGETS', 'DemoResult', 'run_demo']
