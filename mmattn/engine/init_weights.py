"""Initialise a model that is built to be measured, without a line for each of its parameters."""

from __future__ import annotations

import logging

from mmengine.logging import MMLogger
from torch import nn


def init_weights_quietly(model: nn.Module) -> None:
    """Call ``model.init_weights()``; what it warns of is logged, its list of all parameters is not.

    MMEngine writes that list to the log where there is a log file, and onto the screen where there is none.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)
