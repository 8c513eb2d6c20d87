"""A build from end to end: read the list, run what is missing, settle, publish."""

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from avipipe.errors import RunError
from avipipe.manifests.ledger import Ledger
from avipipe.manifests.records import Record, SourceLine, clip_id
from avipipe.pipeline.accounting import ItemState, StageCount, Survey, children
from avipipe.pipeline.config import BuildConfig
from avipipe.pipeline.graph import Graph, Row
from avipipe.pipeline.worker import MAX_ATTEMPTS
from avipipe.pipeline.workspace import Workspace

logger = logging.getLogger(__name__)


class Executor(Protocol):
    """Takes rows as far as they go; yields each, a source's clips in its place."""

    def run(self, rows: Iterable[Row]) -> Iterator[Row]: ...


class Listener(Protocol):
    """What wants to know how a build goes on, such as a progress display."""

    def started(self, counts: dict[str, StageCount]) -> None: ...

    def settled(self, record: Record, hours: float) -> None: ...

    def publishing(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Summary:
    """How a build ended."""

    counts: dict[str, StageCount]
    generation: int
    """Of the dataset as it is published now; 0 if nothing was kept."""
    num_new_clips: int


class Build:
    """One run over a list of sources. Use within `workspace.locked()`."""

    def __init__(
        self, workspace: Workspace, config: BuildConfig, lines: list[SourceLine], ledger: Ledger
    ) -> None:
        self._workspace = workspace
        self._config = config
        self._lines = lines
        self._ledger = ledger
        self._store = workspace.store
        self.graph = Graph(config)
        self.survey = Survey(self.graph, self._lookup, self._store.folder)

    def run(self, listener: Listener) -> None:
        """Process every pending item, in passes, until none is pending.

        Raises:
            RunError: a pass brought nothing forward, or too large a share of sources failed.
        """
        self._store.clear_scratch()
        listener.started(self.survey.counts(self._lines))
        run_id = uuid.uuid4().hex
        executor = self._executor(run_id)
        idle_passes = 0
        while rows := self._pending_rows():
            before = self._ledger.num_written
            for row in executor.run(rows):
                self._settle(row, listener.settled)
            idle_passes = idle_passes + 1 if self._ledger.num_written == before else 0
            if idle_passes > MAX_ATTEMPTS:
                raise RunError(
                    f"{len(rows)} items are pending and {idle_passes} passes over them got none "
                    "forward: the workers end before they begin. Run with `--executor inline` to "
                    "see why"
                )
        self._refuse_mass_failure()

    def _executor(self, run_id: str) -> Executor:
        if self._config.executor.kind == "inline":
            from avipipe.pipeline.inline import InlineExecutor

            return InlineExecutor(self.graph, self._store, run_id)
        from avipipe.pipeline.ray_data import RayExecutor

        return RayExecutor(self.graph, self._workspace.work, run_id)

    def _lookup(self, key: str) -> Record | None:
        return self._ledger.get(key)

    def _pending_rows(self) -> list[Row]:
        rows = [state.row for state in self.survey.sources(self._lines) if state.pending]
        rows += [state.row for state in self.survey.clips(self._lines) if state.pending]
        return rows

    def _settle(self, row: Row, settled: Callable[[Record, float], None]) -> None:
        """Take into the ledger what the store knows about an item beyond it."""
        hours = row.span.duration_s / 3600 if row.span is not None else 0.0
        for visit in self.graph.trail(row, self._store.get, self._store.folder):
            if visit.record is not None and self._ledger.get(visit.key) != visit.record:
                self._ledger.append(visit.record)
                settled(visit.record, hours if visit.stage.level == "clip" else 0.0)

    def _refuse_mass_failure(self) -> None:
        states = list(self.survey.sources(self._lines))
        failed = sum(state.stopped for state in states)
        if failed > self._config.executor.max_failed_ratio * len(states):
            raise RunError(
                f"{failed} of {len(states)} sources failed, more than executor.max_failed_ratio = "
                f"{self._config.executor.max_failed_ratio:g} allows; nothing was published. "
                "`avipipe status` shows the reasons, `avipipe retry` runs them again"
            )


def kept_clips(survey: Survey, lines: list[SourceLine]) -> Iterator[ItemState]:
    """The clips that came through every stage, in the order of their ids."""
    order: dict[str, Row] = {}
    for source in survey.sources(lines):
        for span in children(source):
            order.setdefault(clip_id(source.source_id, span), Row(source.row.source, span))
    for name in sorted(order):
        state = survey.state(order[name])
        if not state.pending and not state.stopped:
            yield state
