"""Logging for the command line: one handler, to stderr, no configuration at import time."""

import logging
import sys

from avipipe.text import said


class _Formatter(logging.Formatter):
    """Says nothing that a terminal would obey, and no secret."""

    def format(self, record: logging.LogRecord) -> str:
        return said(super().format(record))


def configure(verbosity: int) -> None:
    """Send avipipe's log records to stderr. `verbosity`: -1 errors, 0 warnings, 1 info, 2 debug."""
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    logger = logging.getLogger("avipipe")
    logger.setLevel(levels.get(verbosity, logging.DEBUG))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
