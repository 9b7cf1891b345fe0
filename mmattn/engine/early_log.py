"""Keep what is logged before a run has its log file, and write it there."""

from __future__ import annotations

import logging
from types import TracebackType

from mmengine.logging import MMLogger


class EarlyLog(logging.Handler):
    """Keep the records of MMEngine's current logger, which prints them, until :meth:`write_to`.

    MMEngine's runner opens the log file of a run. What was told before, such as what was odd about the data
    or from which checkpoint the run is resumed, would not be in it.

    Example::

        with EarlyLog() as log:
            print_log('told before there is a file', logger='current')
            runner = Runner.from_cfg(cfg)
            log.write_to(runner.logger)
    """

    def __init__(self) -> None:
        super().__init__()
        self._records: list[logging.LogRecord] = []
        self._logger: logging.Logger | None = None

    def __enter__(self) -> EarlyLog:
        self._logger = MMLogger.get_current_instance()
        self._logger.addHandler(self)
        return self

    def __exit__(
        self,
        error_class: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def write_to(self, logger: logging.Logger) -> None:
        """Write what was kept into the log files of a logger, and keep no more."""
        self._logger.removeHandler(self)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                for record in self._records:
                    if record.levelno >= handler.level:
                        handler.handle(record)
        self._records.clear()
