"""The papers' formulas, written out slowly, in torch alone: what the blocks are held against.

Each function takes the map and a dict of parameters named as in the official code.
"""
