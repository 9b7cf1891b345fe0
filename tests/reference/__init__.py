"""The papers' formulas in naive PyTorch code, against which the blocks are tested.

Each function takes the map and a dict of parameters with the names of the official code.
"""
