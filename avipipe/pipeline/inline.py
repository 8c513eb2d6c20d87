"""The inline executor: a plain loop in this process, for debugging and small jobs."""

import logging
import math
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from avipipe.pipeline.graph import Graph, Row
from avipipe.pipeline.memory import MemoryWatch
from avipipe.pipeline.private import Private
from avipipe.pipeline.store import ContentStore
from avipipe.pipeline.worker import StageTimeoutError, Worker

_log = logging.getLogger(__name__)


class InlineExecutor:
    """Executor in this process: runs one item after the other, each to its end.

    There is only one process, so an item that takes it down ends the build, and the next one too.
    On Ray such an item costs a worker, and fails after `worker.MAX_ATTEMPTS`.
    """

    def __init__(self, graph: Graph, store: ContentStore, private: Private, run_id: str) -> None:
        self._worker = Worker(graph, store, private, run_id, on_timeout=_interrupt_main_thread)
        self._stages = frozenset(stage.name for stage in graph.stages)
        self._max_gb = graph.config.executor.max_worker_gb

    def run(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Take items as far as they go; yield each (a source's clips in its place) when done."""
        watch = MemoryWatch(math.inf if self._max_gb is None else self._max_gb * 1e9)
        with _timeouts_raise():
            for row in rows:
                if watch.is_over():
                    _log.warning("over executor.max_worker_gb; Ray would replace this process")
                for item in self._worker.advance(row, self._stages):
                    if item.span is not None and row.span is None:
                        self._worker.advance(item, self._stages)
                    yield item


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGALRM)


@contextmanager
def _timeouts_raise() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # Handlers can be set in the main thread only; elsewhere the tools' own limits hold.
        yield
        return
    before = signal.signal(signal.SIGALRM, _raise_timeout)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def _raise_timeout(number: int, frame: FrameType | None) -> None:
    raise StageTimeoutError
