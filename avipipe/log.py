"""Logging for the command line: one handler, to stderr, no configuration at import time."""

import logging
import sys


def configure(verbosity: int) -> None:
    """Send avipipe's log records to stderr. `verbosity`: -1 errors, 0 warnings, 1 info, 2 debug."""
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    logger = logging.getLogger("avipipe")
    logger.setLevel(levels.get(verbosity, logging.DEBUG))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
