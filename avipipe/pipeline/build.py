"""A build from end to end: read the list, run what is missing, settle, publish."""

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from avipipe.errors import RunError, disk_error
from avipipe.manifests.dataset import DatasetIndex
from avipipe.manifests.lease import Lease
from avipipe.manifests.ledger import Ledger
from avipipe.manifests.records import Cost, Keep, Record, SourceLine
from avipipe.pipeline.accounting import StageCount, Survey
from avipipe.pipeline.graph import Graph, Row
from avipipe.pipeline.private import Private
from avipipe.pipeline.publication import PUBLISHED_STAGES, publish_dataset, unpublished
from avipipe.pipeline.repair import forget_damaged
from avipipe.pipeline.report.write import write_report
from avipipe.pipeline.worker import MAX_ATTEMPTS
from avipipe.pipeline.workspace import Workspace
from avipipe.stages.publish import Published

logger = logging.getLogger(__name__)

MAX_REPAIRS = 2
"""Most attempts to repair what is to be published; then the disk is bad."""


class Executor(Protocol):
    """An executor: takes rows as far as they go; yields each, a source's clips in its place."""

    def run(self, rows: Iterable[Row]) -> Iterator[Row]: ...


class BuildListener(Protocol):
    """Listener to the progress of a build, such as a display."""

    def started(self, counts: dict[str, StageCount]) -> None: ...

    def settled(self, record: Record, hours: float) -> None: ...

    def publishing(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Summary:
    """Result of a build."""

    counts: dict[str, StageCount]
    index: DatasetIndex
    num_new_clips: int
    report: str
    """Path or URL of the report."""


class Build:
    """One run over a list of sources. Use within `workspace.locked()` and `workspace.lease()`."""

    def __init__(
        self,
        workspace: Workspace,
        graph: Graph,
        lines: list[SourceLine],
        ledger: Ledger,
        lease: Lease | None = None,
    ) -> None:
        self._workspace = workspace
        self._lines = lines
        self._ledger = ledger
        self._lease = lease
        self._store = workspace.store
        self.graph = graph
        self.survey = Survey(graph, ledger.get, self._store.folder)

    def run(self, listener: BuildListener) -> Summary:
        """Process what is pending, publish, report.

        Raises:
            RunError: a pass brought nothing forward, too large a share of sources failed, or
                nothing can be written.
            ManifestError: what is published there already is damaged.
        """
        try:
            self._store.clear_scratch()
            listener.started(self.survey.counts(self._lines))
            run_id = uuid.uuid4().hex
            self._process(listener, run_id)
            self._refuse_mass_failure()
            listener.publishing()
            self._repair(listener, run_id)
            published = self._publish()
            report = write_report(self._workspace, self.survey, self._lines, self.graph)
        except OSError as error:
            raise disk_error(error) from error
        counts = self.survey.counts(self._lines)
        return Summary(counts, published.index, published.num_new_clips, report)

    def _process(self, listener: BuildListener, run_id: str) -> None:
        """Run passes over what is pending until nothing is."""
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

    def _repair(self, listener: BuildListener, run_id: str) -> None:
        """Make anew what was damaged since it was made, of all that is to be published now."""
        damaged: set[str] = set()
        for number in range(MAX_REPAIRS + 1):
            clips = unpublished(self._workspace.out, self.survey, self._lines)
            if damaged:  # the others have just been read
                clips = (clip for clip in clips if clip.clip_id in damaged)
            damaged = forget_damaged(clips, PUBLISHED_STAGES, self._ledger, self._store)
            if not damaged:
                return
            if number < MAX_REPAIRS:
                self._process(listener, run_id)
        raise RunError(
            f"{len(damaged)} clips, such as {min(damaged)}, were damaged again each time that they "
            f"were made; nothing was published. Check the disk under {self._workspace.work}, then "
            "run the same command again"
        )

    def _publish(self) -> Published:
        started_s, cpu_before_s = time.monotonic(), time.process_time()
        published = publish_dataset(
            self._workspace.out, self.graph, self.survey, self._lines, self._lease
        )
        cost = Cost(
            wall_s=round(time.monotonic() - started_s, 4),
            cpu_s=round(time.process_time() - cpu_before_s, 4),
        )
        name = f"generation-{published.index.generation:04d}"
        evidence = {"num_new_clips": published.num_new_clips}
        self._ledger.append(Record(name, "publish", name, Keep(evidence), cost))
        return published

    def _executor(self, run_id: str) -> Executor:
        if self.graph.config.executor.kind == "inline":
            from avipipe.pipeline.inline import InlineExecutor

            private = Private(self._workspace.work)
            return InlineExecutor(self.graph, self._store, private, run_id)
        from avipipe.pipeline.ray_data import RayExecutor

        return RayExecutor(self.graph, self._workspace.work, run_id)

    def _pending_rows(self) -> list[Row]:
        """Items to run in one pass. Of those that wait for the same result, such as two ranges of
        one URL for its download, only the first: the others find it in the next pass."""
        rows: dict[str, Row] = {}
        for states in (self.survey.sources(self._lines), self.survey.clips(self._lines)):
            for state in states:
                if state.pending:
                    rows.setdefault(state.last.key, state.row)
        return list(rows.values())

    def _settle(self, row: Row, settled: Callable[[Record, float], None]) -> None:
        """Take into the ledger what the store knows about an item beyond it."""
        hours = row.span.duration_s / 3600 if row.span is not None else 0.0
        for visit in self.graph.trail(row, self._store.get, self._store.folder):
            record = visit.record
            if record is not None and self._ledger.get(visit.key) != record:
                self._ledger.append(record)
                settled(record, hours if visit.stage.level == "clip" else 0.0)
                if record.note:
                    logger.warning(
                        "%s: `%s` ran again: %s", record.item_id, record.stage, record.note
                    )

    def _refuse_mass_failure(self) -> None:
        failed = sum(state.stopped for state in self.survey.sources(self._lines))
        allowed = self.graph.config.executor.max_failed_ratio
        if failed > allowed * len(self._lines):
            raise RunError(
                f"{failed} of {len(self._lines)} sources failed, more than "
                f"executor.max_failed_ratio = {allowed:g} allows; nothing was published. "
                "`avipipe status` shows the reasons, `avipipe retry` runs them again"
            )
