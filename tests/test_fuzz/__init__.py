"""Mutated configs, annotation files and checkpoints: the valid ones train, the others are refused by name."""
