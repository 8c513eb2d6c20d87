"""A worker: takes an item as far as it goes, and contains whatever goes wrong with it.

This is the one place where any exception is caught: an item's accident becomes that item's `Fail`,
one of loading models an error of the run.
"""

import errno
import platform
import resource
import threading
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from avipipe.errors import (
    DISK_ERRNOS,
    AvipipeError,
    FailKind,
    ItemError,
    ManifestError,
    RunError,
    disk_error,
)
from avipipe.manifests.records import Cost, Fail, Keep, Outcome, Record
from avipipe.pipeline.graph import Graph, Row, Visit
from avipipe.pipeline.private import Private
from avipipe.pipeline.store import ContentStore
from avipipe.stages.base import Item, Stage
from avipipe.text import hiding, said, storable

MAX_ATTEMPTS = 3
"""Most times that an item may take its worker down in one run before it is given up."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Runs stages and commits what comes of them.

    Attributes:
        graph: the stages.
        store: where results go.
        private: the addresses of sources, which only `fetch` is told.
        run_id: names this run; attempts are counted within it.
        on_timeout: what ends a stage that is over its time. It must not return to the stage: it
            raises in the main thread (inline) or ends the process (Ray, which starts another).
    """

    graph: Graph
    store: ContentStore
    private: Private
    run_id: str
    on_timeout: Callable[[], None]
    _ready: set[str] = field(default_factory=set)

    def advance(self, row: Row, stages: Collection[str]) -> list[Row]:
        """Take an item through as many of `stages` as it gets to.

        Returns:
            the row itself, or its children once a fan-out is behind it.
        Raises:
            RunError: the run as a whole cannot go on (disk full or read-only, or the models of a
                stage do not load).
        """
        try:
            return self._advance(row, stages)
        except OSError as error:
            raise disk_error(error) from error

    def _advance(self, row: Row, stages: Collection[str]) -> list[Row]:
        for visit in self.graph.trail(row, self.store.get, self.store.folder):
            record = visit.record
            if record is None:
                if visit.stage.name not in stages:
                    return [row]
                record = self._run(visit)
            if visit.stage.fans_out and row.span is None and isinstance(record.outcome, Keep):
                return [Row(row.source, span) for span in record.outcome.children]
        return [row]

    def _run(self, visit: Visit) -> Record:
        note = self._clear(visit.key)
        attempts = self.store.begin(visit.key, self.run_id)
        scratch = self.store.scratch_folder(visit.key)
        if attempts > MAX_ATTEMPTS:
            message = (
                f"its worker died {MAX_ATTEMPTS} times while `{visit.stage.name}` worked on it "
                "(a crash in native code, or out of memory); see `avipipe why` and the system log"
            )
            outcome: Outcome = Fail(FailKind.WORKER_DIED, message, attempts=MAX_ATTEMPTS)
            return self._commit(visit, outcome, Cost(), scratch, note)
        self._set_up(visit.stage)
        outcome, cost = self._measured(visit, scratch, attempts)
        return self._commit(visit, outcome, cost, scratch, note)

    def _clear(self, key: str) -> str:
        """Remove what the store holds of a stage that has to run; say why it did not count."""
        try:
            if self.store.read(key) is None:
                return ""
            note = "its files were gone or cut short, or what it was made from had changed"
        except ManifestError as error:
            note = str(error)
        self.store.discard(key)
        return note

    def _set_up(self, stage: Stage) -> None:
        """Let a stage load its models, once. That takes its time, and no item is to blame for it.

        Raises:
            RunError: they do not load.
        """
        if stage.name in self._ready:
            return
        try:
            stage.setup()
        except AvipipeError:
            raise
        except Exception as error:  # a library may raise anything at what it cannot read
            raise RunError(
                f"`{stage.name}` cannot load its models on {platform.node()}: "
                f"{type(error).__name__}: {error}\nNo item is to blame, and nothing is lost: see "
                "`avipipe doctor` there, then run the same command again."
            ) from error
        self._ready.add(stage.name)

    def _measured(self, visit: Visit, scratch: Path, attempts: int) -> tuple[Outcome, Cost]:
        started_s, cpu_before_s = time.monotonic(), _cpu_s()
        watchdog = threading.Timer(
            visit.stage.timeout_s, self._expire, args=(visit, scratch, attempts)
        )
        watchdog.daemon = True
        watchdog.start()
        try:
            with hiding(*self.private.secrets(visit.item.source.uri)):
                outcome = _safe(self._guarded(visit, scratch, attempts))
        finally:
            watchdog.cancel()
        cost = Cost(
            wall_s=round(time.monotonic() - started_s, 4),
            cpu_s=round(_cpu_s() - cpu_before_s, 4),
            peak_rss_bytes=_peak_rss_bytes(),
        )
        return outcome, cost

    def _guarded(self, visit: Visit, scratch: Path, attempts: int) -> Outcome:
        try:
            outcome = visit.stage.run(self._item(visit), scratch)
            _require_files(outcome, scratch)
            return outcome
        except StageTimeoutError:
            return _timeout(visit.stage, attempts)
        except ItemError as error:
            return Fail(error.kind, str(error), attempts, error.log_tail)
        except MemoryError as error:
            return Fail(FailKind.OUT_OF_MEMORY, f"out of memory: {error}", attempts)
        except AvipipeError:
            raise
        except OSError as error:
            if error.errno in DISK_ERRNOS:
                raise
            return _internal(error, attempts)
        except Exception as error:  # noqa: BLE001  the per-item boundary
            return _internal(error, attempts)

    def _item(self, visit: Visit) -> Item:
        """What a stage sees: `fetch` alone is told an address with its secrets."""
        item = visit.item
        if visit.stage.name != "fetch":
            return item
        return replace(item, address=self.private.address(item.source.uri))

    def _expire(self, visit: Visit, scratch: Path, attempts: int) -> None:
        outcome = _timeout(visit.stage, attempts)
        cost = Cost(wall_s=visit.stage.timeout_s)
        try:
            # The stage may still be writing into its own folder: commit from an empty one.
            self._commit(visit, outcome, cost, self.store.scratch_folder(visit.key))
        finally:
            self.on_timeout()

    def _commit(
        self, visit: Visit, outcome: Outcome, cost: Cost, scratch: Path, note: str = ""
    ) -> Record:
        record = Record(visit.key, visit.stage.name, visit.item.id, outcome, cost, note=note)
        return self.store.commit(record, scratch)


class StageTimeoutError(BaseException):
    """Raised in the main thread of an inline build when a stage is over its time.

    Not an `Exception`, so that nothing inside the stage takes it for its own.
    """


def _require_files(outcome: Outcome, folder: Path) -> None:
    for name in outcome.files if isinstance(outcome, Keep) else ():
        if not (folder / name).is_file():
            raise FileNotFoundError(errno.ENOENT, "the stage names a file it did not write", name)


def _safe(outcome: Outcome) -> Outcome:
    """An outcome whose texts can be stored, published and shown."""
    if isinstance(outcome, Fail):
        return replace(outcome, message=said(outcome.message), log_tail=said(outcome.log_tail))
    return replace(outcome, evidence=storable(outcome.evidence))


def _timeout(stage: Stage, attempts: int) -> Fail:
    return Fail(
        FailKind.TIMEOUT, f"`{stage.name}` took longer than {stage.timeout_s:g} s", attempts
    )


def _internal(error: Exception, attempts: int) -> Fail:
    tail = "".join(traceback.format_exception(error)[-6:])
    return Fail(FailKind.INTERNAL, f"{type(error).__name__}: {error}", attempts, tail)


def _peak_rss_bytes() -> int:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own, largest_child) * 1024


def _cpu_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
